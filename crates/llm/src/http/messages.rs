//! Anthropic's Messages API. Called by `http`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::decode::{Decode, EventError, Progress};
use super::draft::{Author, Draft, OnDelta, as_object};
use super::effort::Thinking;
use super::loaded::Loaded;
use super::prefix::Prefix;
use super::verbatim::{self, Blocks};
use crate::media::Media;
use crate::model::{Answer, Delta, Item, Prompt, Stop, ToolResult};

/// The type of the provider's search tool.
const SEARCH: &str = "web_search_20250305";

/// The largest number of paid searches per answer.
const SEARCHES_MAX: u32 = 8;

/// The number of user messages with a cache mark. The API permits four marks; one is on the system text.
const MARKED_MESSAGES: usize = 3;

/// A request, and the data about it that its answer must store.
pub(super) struct Request {
    pub(super) body: Value,
    /// The digest of the prefix to which the answer's thoughts are bound.
    pub(super) prefix: String,
}

/// A request for an answer of at most `output` tokens. An earlier answer is sent in the provider's own blocks only if
/// `author` wrote it.
pub(super) fn request(
    model: &str,
    author: Author<'_>,
    output: u64,
    thinking: &Thinking,
    prompt: &Prompt<'_>,
    loaded: &Loaded,
) -> Request {
    let tools = tools(prompt);
    // A request that turns thinking off must not contain earlier thoughts, so the mode is part of the prefix.
    let mode = thinking.mode.as_ref().map(|mode| &mode["type"]);
    let fixed = json!({ "model": model, "system": prompt.system, "tools": tools, "mode": mode });
    let mut prefix = Prefix::new(&fixed);
    let mut messages = messages(author, prompt, loaded, &mut prefix);
    if thinking.has_budget() && began_without_thought(&messages) {
        return request(model, author, output, &Thinking::NONE, prompt, loaded);
    }
    mark_inputs(&mut messages);
    let mut body = json!({
        "model": model,
        "stream": true,
        "max_tokens": output,
        "messages": messages,
    });
    if !prompt.system.is_empty() {
        // The API requires marks with a longer lifetime to come before the others. A member often waits longer than the
        // default lifetime of five minutes for its next task. Writing this prefix again after each such wait would cost
        // more than twice the surcharge for a lifetime of an hour.
        let mark = json!({ "type": "ephemeral", "ttl": "1h" });
        body["system"] = json!([{ "type": "text", "text": prompt.system, "cache_control": mark }]);
    }
    if !tools.is_empty() {
        body["tools"] = tools.into();
    }
    if let Some(mode) = &thinking.mode {
        body["thinking"] = mode.clone();
    }
    if let Some(effort) = thinking.effort {
        body["output_config"] = json!({ "effort": effort });
    }
    let prefix = prefix.digest();
    Request { body, prefix }
}

/// Whether the first answer after the last input of the user begins without a thought. Its thought is missing if
/// another model wrote the answer, or if the effort or the prefix of the thought has changed since. With a budget, the
/// API rejects such a request ("a final assistant message must start with a thinking block"), so the model does not
/// think before the next input.
fn began_without_thought(messages: &[Value]) -> bool {
    let is_input = |message: &Value| {
        message["role"] == "user" && message["content"][0]["type"] != "tool_result"
    };
    let input = messages.iter().rposition(is_input);
    let first = messages.get(input.map_or(0, |at| at + 1));
    first.is_some_and(|answer| !verbatim::is_thought(&answer["content"][0]))
}

/// Marks the ends of the last user messages for the cache. The last mark writes an entry. The mark before it is at the
/// place where the previous request wrote its entry: without that mark, the API searches only the 20 blocks before the
/// last mark, and a step with many calls has more blocks.
///
/// The first of these marks has a lifetime of an hour. While requests follow each other within five minutes, an earlier
/// request has already cached the text before it, so the mark writes nothing and costs nothing. After a longer wait for
/// tasks or a reply, the five-minute entries are gone; then the mark writes an entry that outlives the next wait. A
/// conversation with fewer user messages has no such mark: it would pay the price of an hour before any wait.
fn mark_inputs(messages: &mut [Value]) {
    let inputs = messages
        .iter_mut()
        .rev()
        .filter(|message| message["role"] == "user");
    for (number, message) in (1..).zip(inputs.take(MARKED_MESSAGES)) {
        let blocks = message["content"].as_array_mut();
        if let Some(block) = blocks.and_then(|blocks| blocks.last_mut()) {
            block["cache_control"] = match number == MARKED_MESSAGES {
                true => json!({ "type": "ephemeral", "ttl": "1h" }),
                false => json!({ "type": "ephemeral" }),
            };
        }
    }
}

fn tools(prompt: &Prompt<'_>) -> Vec<Value> {
    let tools = prompt.tools.iter().map(|tool| {
        json!({
            "name": tool.name,
            "description": tool.description,
            "input_schema": tool.input,
        })
    });
    let search = prompt
        .search
        .then(|| json!({ "type": SEARCH, "name": "web_search", "max_uses": SEARCHES_MAX }));
    tools.chain(search).collect()
}

/// Returns the messages of the prompt, and adds them to `prefix`.
fn messages(
    author: Author<'_>,
    prompt: &Prompt<'_>,
    loaded: &Loaded,
    prefix: &mut Prefix,
) -> Vec<Value> {
    let mut messages: Vec<Value> = Vec::new();
    for item in prompt.items {
        let (role, blocks) = match item {
            Item::Input { text } => ("user", text_block(text).into_iter().collect()),
            Item::Shown { media } => {
                let text = text_block(&loaded.title(media));
                (
                    "user",
                    text.into_iter()
                        .chain(blocks(loaded.shown(media)))
                        .collect(),
                )
            }
            Item::Answered(answer) => ("assistant", answered(author, answer, prefix)),
            Item::Returned { results } => {
                let results = results.iter().map(|result| {
                    json!({
                        "type": "tool_result",
                        "tool_use_id": result.id,
                        "content": content(result, loaded),
                        "is_error": result.failed,
                    })
                });
                ("user", results.collect())
            }
        };
        let blocks: Vec<Value> = blocks;
        prefix.extend(role, &blocks);
        // Merge everything after an answer into one message: results must be in the message directly after the calls.
        match messages.last_mut() {
            Some(last) if last["role"] == role => {
                let content = last["content"].as_array_mut();
                content
                    .expect("content was created as a list")
                    .extend(blocks);
            }
            _ if blocks.is_empty() => {}
            _ => messages.push(json!({ "role": role, "content": blocks })),
        }
    }
    messages
}

/// The content of a result: its text, or blocks with its images and PDFs.
fn content(result: &ToolResult, loaded: &Loaded) -> Value {
    let text = loaded.text(result, &result.text);
    let shown = loaded.shown(&result.media);
    if shown.is_empty() {
        return text.into();
    }
    text_block(&text).into_iter().chain(blocks(shown)).collect()
}

/// The blocks of images and PDFs.
fn blocks(shown: Vec<(&Media, &str)>) -> impl Iterator<Item = Value> {
    shown.into_iter().map(|(media, data)| {
        let kind = if media.kind.is_image() {
            "image"
        } else {
            "document"
        };
        let source = json!({ "type": "base64", "media_type": media.kind.mime(), "data": data });
        json!({ "type": kind, "source": source })
    })
}

/// The block of a text. `None` for a blank text, which the API rejects.
fn text_block(text: &str) -> Option<Value> {
    let blank = text.trim().is_empty();
    (!blank).then(|| json!({ "type": "text", "text": text }))
}

/// The blocks of an answer that follows `prefix`: as received, but without thoughts that are bound to another prefix.
fn answered(author: Author<'_>, answer: &Answer, prefix: &Prefix) -> Vec<Value> {
    if let Some(own) = author.own(answer) {
        let mut blocks = own.blocks.clone();
        if own.prefix.as_deref() != Some(&*prefix.digest()) {
            blocks.retain(|block| !verbatim::is_thought(block));
        }
        // The API rejects a thought at the end of an answer, where only a truncated answer has one.
        while blocks.last().is_some_and(verbatim::is_thought) {
            blocks.pop();
        }
        return blocks;
    }
    let calls = answer.calls.iter().map(|call| {
        json!({
            "type": "tool_use",
            "id": call.id,
            "name": call.name,
            "input": as_object(&call.input),
        })
    });
    text_block(&answer.text).into_iter().chain(calls).collect()
}

#[derive(Debug)]
pub(super) struct AnswerDecoder {
    draft: Draft,
    /// The open calls: block index and call index.
    calls: Vec<(u64, usize)>,
    counted: Counted,
    blocks: Blocks,
    /// The sources that the answer cites, as shown to the user.
    sources: Vec<String>,
}

impl AnswerDecoder {
    pub(super) fn new(draft: Draft) -> Self {
        Self {
            draft,
            calls: Vec::new(),
            counted: Counted::default(),
            blocks: Blocks::default(),
            sources: Vec::new(),
        }
    }

    fn begin(&mut self, index: u64, block: Value, on_delta: OnDelta<'_>) -> Result<(), EventError> {
        let known = Block::deserialize(&block).map_err(|error| invalid(&error))?;
        self.blocks.begin(index, block);
        match known {
            Block::Text { text } => self.draft.push_text(&text, on_delta),
            Block::Thinking { thinking } => {
                self.draft.begin_thought();
                self.draft.push_thought(&thinking, on_delta);
            }
            Block::ToolUse { id, name, input } => {
                let call = self.draft.begin_call(&id, &name, on_delta);
                self.calls.push((index, call));
                // Most servers send the arguments in deltas; some send all of them here.
                if input.as_object().is_some_and(|input| !input.is_empty()) {
                    self.draft.push_input(call, &input.to_string(), on_delta);
                }
            }
            Block::WebSearchToolResult {
                tool_use_id,
                content,
            } => {
                self.draft.begin_paragraph(on_delta);
                on_delta(Delta::Searched {
                    query: self.blocks.query(&tool_use_id),
                    id: tool_use_id,
                    found: found(&content),
                });
            }
            Block::Unknown => {}
        }
        Ok(())
    }

    fn apply_delta(
        &mut self,
        index: u64,
        delta: &Value,
        on_delta: OnDelta<'_>,
    ) -> Result<(), EventError> {
        let known = BlockDelta::deserialize(delta).map_err(|error| invalid(&error))?;
        self.blocks.apply_delta(index, delta);
        match known {
            BlockDelta::TextDelta { text } => self.draft.push_text(&text, on_delta),
            BlockDelta::ThinkingDelta { thinking } => self.draft.push_thought(&thinking, on_delta),
            BlockDelta::InputJsonDelta { partial_json } => {
                let call = self.calls.iter().find(|(at, _)| *at == index);
                if let Some((_, call)) = call {
                    self.draft.push_input(*call, &partial_json, on_delta);
                }
            }
            BlockDelta::CitationsDelta { citation } => {
                let source = page(&citation);
                if !self.sources.contains(&source) && !source.is_empty() {
                    self.sources.push(source);
                }
            }
            BlockDelta::Unknown => {}
        }
        Ok(())
    }

    /// Adds the cited sources to the text for the user. The model receives them in the provider's own blocks.
    fn show_sources(&mut self, on_delta: OnDelta<'_>) {
        if !self.sources.is_empty() {
            let sources = std::mem::take(&mut self.sources).join("\n- ");
            self.draft.begin_paragraph(on_delta);
            self.draft
                .push_text(&format!("Sources:\n- {sources}"), on_delta);
        }
    }

    /// Applies the counts of an event. The server sends counts at the start and again at the end; the last values
    /// apply.
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
            cache_creation: counted.cache_creation.or(before.cache_creation),
        };
        let now = self.counted;
        let usage = &mut self.draft.usage;
        usage.cache_read = now.cache_read_input_tokens.unwrap_or(0);
        usage.cache_write = now.cache_creation_input_tokens.unwrap_or(0);
        let of_hour = now
            .cache_creation
            .and_then(|it| it.ephemeral_1h_input_tokens);
        usage.cache_write_hour = of_hour.unwrap_or(0);
        usage.input = now.input_tokens.unwrap_or(0) + usage.cache_read + usage.cache_write;
        usage.output = now.output_tokens.unwrap_or(0);
    }
}

impl Decode for AnswerDecoder {
    fn event(&mut self, data: &str, on_delta: OnDelta<'_>) -> Result<Progress, EventError> {
        let event: Event = serde_json::from_str(data).map_err(|error| invalid(&error))?;
        match event {
            Event::MessageStart { message } => self.count(message.usage.unwrap_or_default()),
            Event::ContentBlockStart {
                index,
                content_block,
            } => self.begin(index, content_block, on_delta)?,
            Event::ContentBlockDelta { index, delta } => {
                self.apply_delta(index, &delta, on_delta)?
            }
            Event::MessageDelta { delta, usage } => {
                self.count(usage.unwrap_or_default());
                if let Some(reason) = delta.stop_reason {
                    self.draft.stop = Some(match reason.as_str() {
                        "tool_use" => Stop::Calls,
                        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
                        "refusal" => Stop::Refused,
                        "pause_turn" => Stop::Paused,
                        _ => Stop::Finished,
                    });
                }
            }
            Event::MessageStop => {
                self.show_sources(on_delta);
                return Ok(Progress::Ended);
            }
            Event::Error { error } => return Err(EventError::Error(error)),
            Event::Unknown => {}
        }
        Ok(Progress::More)
    }

    fn finish(mut self: Box<Self>, ended: bool) -> Option<Answer> {
        if !ended {
            return None;
        }
        self.draft.stop.get_or_insert(Stop::Finished);
        let Self { draft, blocks, .. } = *self;
        draft.finish_with(|answer| blocks.finish(answer))
    }
}

fn invalid(error: &serde_json::Error) -> EventError {
    EventError::Invalid(error.to_string())
}

/// The results of a search, one line per page, or the reason of its failure.
fn found(content: &Value) -> String {
    let pages = content.as_array().into_iter().flatten();
    let pages: Vec<String> = pages.map(page).filter(|page| !page.is_empty()).collect();
    match (content["error_code"].as_str(), pages.is_empty()) {
        (Some(code), _) => format!("the provider's search failed: {code}"),
        (None, true) => "(no results)".to_owned(),
        (None, false) => pages.join("\n"),
    }
}

fn page(page: &Value) -> String {
    let field = |name: &str| page[name].as_str().unwrap_or("").trim();
    let page = format!("{} {}", field("title"), field("url"));
    page.trim().to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Started,
    },
    ContentBlockStart {
        index: u64,
        content_block: Value,
    },
    ContentBlockDelta {
        index: u64,
        delta: Value,
    },
    MessageDelta {
        delta: MessageDelta,
        usage: Option<Counted>,
    },
    MessageStop,
    Error {
        error: Value,
    },
    /// Pings, and events that were added to the API later.
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
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    WebSearchToolResult {
        tool_use_id: String,
        #[serde(default)]
        content: Value,
    },
    /// Other blocks, such as an encrypted thought. The call of the provider's search is reported together with its
    /// result.
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
    InputJsonDelta {
        partial_json: String,
    },
    CitationsDelta {
        citation: Value,
    },
    /// Other deltas, such as the signature of a thought, which only the verbatim block keeps.
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
    cache_creation: Option<CacheCreation>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct CacheCreation {
    ephemeral_1h_input_tokens: Option<u64>,
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::spec::Wire;

    use super::*;
    use crate::model::Verbatim;

    #[test]
    fn an_answer_is_sent_without_thoughts_at_its_end() {
        let author = Author {
            by: "anthropic/m",
            wire: Wire::Messages,
            default_wire: Wire::Messages,
        };
        let prefix = Prefix::new(&Value::Null);
        let thought = json!({ "type": "thinking", "thinking": "Hm.", "signature": "sig" });
        let sealed = json!({ "type": "redacted_thinking", "data": "x0" });
        let text = json!({ "type": "text", "text": "ok" });
        let sent = |blocks: &[&Value]| {
            let verbatim = Verbatim {
                by: author.by.to_owned(),
                wire: None,
                blocks: blocks.iter().copied().cloned().collect(),
                prefix: Some(prefix.digest()),
            };
            let answer = Answer {
                verbatim: Some(verbatim),
                ..Answer::default()
            };
            answered(author, &answer, &prefix)
        };
        let kept = [thought.clone(), text.clone()];
        assert_eq!(sent(&[&thought, &text, &thought, &sealed]), kept);
        assert_eq!(sent(&[&sealed, &thought]), [Value::Null; 0]);
    }

    #[test]
    fn only_the_oldest_of_three_marks_lives_an_hour() {
        let lifetimes = |count: usize| {
            let user = json!({ "role": "user", "content": [{ "type": "text", "text": "Hi" }] });
            let mut messages = vec![user; count];
            mark_inputs(&mut messages);
            let mark = |message: &Value| {
                let mark = message["content"][0].get("cache_control")?;
                Some(mark.get("ttl").is_some())
            };
            messages.iter().map(mark).collect::<Vec<_>>()
        };
        assert_eq!(lifetimes(1), [Some(false)]);
        assert_eq!(lifetimes(2), [Some(false), Some(false)]);
        assert_eq!(lifetimes(4), [None, Some(true), Some(false), Some(false)]);
    }
}
