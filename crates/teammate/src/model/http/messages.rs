//! Anthropic's Messages. Called by the exchange in `http`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{Answer, Item, Prompt, Stop, Thought};
use super::draft::{Draft, Told, as_object};
use super::{Broken, Decode, Progress};

/// The body of a request for an answer of at most `output` tokens. `by` is the model's name in thoughts.
pub(super) fn request(model: &str, by: &str, output: u64, prompt: &Prompt<'_>) -> Value {
    let mut messages = messages(by, prompt);
    // What went before is read from the cache: up to here the next prompt is the same.
    let last = messages.last_mut();
    let block = last.and_then(|message| message["content"].as_array_mut()?.last_mut());
    if let Some(block) = block {
        block["cache_control"] = cached();
    }
    let mut body = json!({
        "model": model,
        "stream": true,
        "max_tokens": output,
        "messages": messages,
    });
    if !prompt.system.is_empty() {
        body["system"] =
            json!([{ "type": "text", "text": prompt.system, "cache_control": cached() }]);
    }
    if !prompt.tools.is_empty() {
        body["tools"] = prompt
            .tools
            .iter()
            .map(|tool| {
                json!({
                    "name": tool.name,
                    "description": tool.description,
                    "input_schema": tool.input,
                })
            })
            .collect();
    }
    body
}

fn cached() -> Value {
    json!({ "type": "ephemeral" })
}

fn messages(by: &str, prompt: &Prompt<'_>) -> Vec<Value> {
    let mut messages: Vec<Value> = Vec::new();
    for item in prompt.items {
        let (role, blocks) = match item {
            Item::Said { text } => ("user", text_block(text).into_iter().collect()),
            Item::Answered(answer) => ("assistant", answered(by, answer)),
            Item::Returned { results } => {
                let results = results.iter().map(|result| {
                    json!({
                        "type": "tool_result",
                        "tool_use_id": result.id,
                        "content": result.text,
                        "is_error": result.failed,
                    })
                });
                ("user", results.collect())
            }
        };
        let blocks: Vec<Value> = blocks;
        // One message for all that follows an answer: results must stand in the next one.
        match messages.last_mut() {
            Some(last) if last["role"] == role => {
                let content = last["content"].as_array_mut();
                content.expect("it was made a list").extend(blocks);
            }
            _ if blocks.is_empty() => {}
            _ => messages.push(json!({ "role": role, "content": blocks })),
        }
    }
    messages
}

/// Blank texts are refused.
fn text_block(text: &str) -> Option<Value> {
    let blank = text.trim().is_empty();
    (!blank).then(|| json!({ "type": "text", "text": text }))
}

fn answered(by: &str, answer: &Answer) -> Vec<Value> {
    let own = answer.thoughts.iter().filter(|thought| thought.by == by);
    let calls = answer.calls.iter().map(|call| {
        json!({
            "type": "tool_use",
            "id": call.id,
            "name": call.name,
            "input": as_object(&call.input),
        })
    });
    own.filter_map(thought)
        .chain(text_block(&answer.text))
        .chain(calls)
        .collect()
}

fn thought(thought: &Thought) -> Option<Value> {
    let signature = thought.signature.as_deref()?;
    Some(if thought.sealed {
        json!({ "type": "redacted_thinking", "data": signature })
    } else {
        json!({ "type": "thinking", "thinking": thought.text, "signature": signature })
    })
}

/// Reads the events of one answer.
#[derive(Debug)]
pub(super) struct Reading {
    draft: Draft,
    /// The calls under way: the index of their block, and which call it is.
    calls: Vec<(u64, usize)>,
    counted: Counted,
}

impl Reading {
    pub(super) fn new(draft: Draft) -> Self {
        Self {
            draft,
            calls: Vec::new(),
            counted: Counted::default(),
        }
    }

    fn begin(&mut self, index: u64, block: Block, told: Told<'_>) {
        match block {
            Block::Text { text } => self.draft.text(&text, told),
            Block::Thinking {
                thinking,
                signature,
            } => {
                self.draft.begin_thought();
                self.draft.think(&thinking, told);
                self.draft.thought().signature = signature.filter(|text| !text.is_empty());
            }
            Block::RedactedThinking { data } => {
                self.draft.begin_thought();
                let thought = self.draft.thought();
                thought.signature = Some(data);
                thought.sealed = true;
            }
            Block::ToolUse { id, name, input } => {
                let call = self.draft.begin_call(&id, &name, told);
                self.calls.push((index, call));
                // The arguments follow in pieces, but for servers that do not know how.
                if input.as_object().is_some_and(|input| !input.is_empty()) {
                    self.draft.input(call, &input.to_string(), told);
                }
            }
            Block::Unknown => {}
        }
    }

    fn go_on(&mut self, index: u64, delta: BlockDelta, told: Told<'_>) {
        match delta {
            BlockDelta::TextDelta { text } => self.draft.text(&text, told),
            BlockDelta::ThinkingDelta { thinking } => self.draft.think(&thinking, told),
            BlockDelta::SignatureDelta { signature } => {
                let thought = self.draft.thought();
                thought
                    .signature
                    .get_or_insert_default()
                    .push_str(&signature);
            }
            BlockDelta::InputJsonDelta { partial_json } => {
                let call = self.calls.iter().find(|(at, _)| *at == index);
                if let Some((_, call)) = call {
                    self.draft.input(*call, &partial_json, told);
                }
            }
            BlockDelta::Unknown => {}
        }
    }

    /// Counts come at the beginning and again at the end, the later ones hold.
    fn count(&mut self, counted: Counted) {
        let before = self.counted;
        self.counted = Counted {
            input_tokens: counted.input_tokens.or(before.input_tokens),
            output_tokens: counted.output_tokens.or(before.output_tokens),
            cache_read_input_tokens: counted
                .cache_read_input_tokens
                .or(before.cache_read_input_tokens),
            cache_creation_input_tokens: counted
                .cache_creation_input_tokens
                .or(before.cache_creation_input_tokens),
        };
        let now = self.counted;
        let usage = &mut self.draft.usage;
        usage.cache_read = now.cache_read_input_tokens.unwrap_or(0);
        usage.cache_write = now.cache_creation_input_tokens.unwrap_or(0);
        usage.input = now.input_tokens.unwrap_or(0) + usage.cache_read + usage.cache_write;
        usage.output = now.output_tokens.unwrap_or(0);
    }
}

impl Decode for Reading {
    fn event(&mut self, data: &str, told: Told<'_>) -> Result<Progress, Broken> {
        let event: Event =
            serde_json::from_str(data).map_err(|error| Broken::Nonsense(error.to_string()))?;
        match event {
            Event::MessageStart { message } => self.count(message.usage.unwrap_or_default()),
            Event::ContentBlockStart {
                index,
                content_block,
            } => self.begin(index, content_block, told),
            Event::ContentBlockDelta { index, delta } => self.go_on(index, delta, told),
            Event::MessageDelta { delta, usage } => {
                self.count(usage.unwrap_or_default());
                if let Some(reason) = delta.stop_reason {
                    self.draft.stop = Some(match reason.as_str() {
                        "tool_use" => Stop::Calls,
                        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
                        "refusal" => Stop::Refused,
                        _ => Stop::Finished,
                    });
                }
            }
            Event::MessageStop => return Ok(Progress::Ended),
            Event::Error { error } => return Err(Broken::Error(error)),
            Event::Unknown => {}
        }
        Ok(Progress::More)
    }

    fn finish(mut self: Box<Self>, ended: bool) -> Option<Answer> {
        if !ended {
            return None;
        }
        self.draft.stop.get_or_insert(Stop::Finished);
        self.draft.finish()
    }
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Started,
    },
    ContentBlockStart {
        index: u64,
        content_block: Block,
    },
    ContentBlockDelta {
        index: u64,
        delta: BlockDelta,
    },
    MessageDelta {
        delta: MessageDelta,
        usage: Option<Counted>,
    },
    MessageStop,
    Error {
        error: Value,
    },
    /// Pings, and what was added to the wire since.
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
struct Started {
    usage: Option<Counted>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        #[serde(default)]
        text: String,
    },
    Thinking {
        #[serde(default)]
        thinking: String,
        signature: Option<String>,
    },
    RedactedThinking {
        data: String,
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum BlockDelta {
    TextDelta {
        text: String,
    },
    ThinkingDelta {
        thinking: String,
    },
    SignatureDelta {
        signature: String,
    },
    InputJsonDelta {
        partial_json: String,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
struct MessageDelta {
    stop_reason: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Counted {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}
