//! OpenAI's Responses API. Called by `http`.
//!
//! The server stores nothing (`store: false`), so each request contains the whole conversation. An answer's items are
//! sent back as received and in order: OpenAI rejects a reasoning item without the item that followed it, and a call
//! without its reasoning item. Reasoning is encrypted; its summary is for display.

use serde::Deserialize;
use serde_json::{Value, json};

use super::decode::{Decode, EventError, Progress};
use super::draft::{Author, Draft, OnDelta, as_object, result_text};
use super::loaded::{Loaded, data_url, file_name};
use super::prefix::Prefix;
use crate::media::Media;
use crate::model::{Answer, Item, Prompt, Stop, ToolResult};

/// The body of a request. An earlier answer is sent in the provider's own items only if `author` wrote it. `effort` is
/// OpenAI's value; `None` for a model that does not think.
pub(super) fn request(
    model: &str,
    author: Author<'_>,
    effort: Option<&'static str>,
    prompt: &Prompt<'_>,
    loaded: &Loaded,
) -> Value {
    let tools: Vec<Value> = prompt
        .tools
        .iter()
        .map(|tool| {
            json!({
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.input,
                "strict": false,
            })
        })
        .collect();
    // Requests with the same beginning reach the same cache.
    let fixed = json!({ "model": model, "system": prompt.system, "tools": tools });
    let mut body = json!({
        "model": model,
        "stream": true,
        "store": false,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": Prefix::new(&fixed).digest(),
        "input": input(author, prompt, loaded),
    });
    if !prompt.system.is_empty() {
        body["instructions"] = prompt.system.into();
    }
    if !tools.is_empty() {
        body["tools"] = tools.into();
        body["parallel_tool_calls"] = true.into();
    }
    if let Some(effort) = effort {
        body["reasoning"] = json!({ "effort": effort, "summary": "auto" });
    }
    body
}

fn input(author: Author<'_>, prompt: &Prompt<'_>, loaded: &Loaded) -> Vec<Value> {
    let mut input = Vec::new();
    for item in prompt.items {
        match item {
            Item::Input { text } => input.push(message("user", "input_text", text)),
            Item::Shown { media } => {
                let text = json!({ "type": "input_text", "text": loaded.title(media) });
                let content: Vec<Value> = std::iter::once(text)
                    .chain(parts(loaded.shown(media)))
                    .collect();
                input.push(json!({ "type": "message", "role": "user", "content": content }));
            }
            Item::Answered(answer) => input.extend(answered(author, answer)),
            Item::Returned { results } => input.extend(results.iter().map(|result| {
                json!({
                    "type": "function_call_output",
                    "call_id": result.id,
                    "output": output(result, loaded),
                })
            })),
        }
    }
    input
}

/// The output of a call: its text, or parts with its images and PDFs.
fn output(result: &ToolResult, loaded: &Loaded) -> Value {
    let text = loaded.text(result, &result_text(result));
    let shown = loaded.shown(&result.media);
    if shown.is_empty() {
        return text.into();
    }
    let text = json!({ "type": "input_text", "text": text });
    std::iter::once(text).chain(parts(shown)).collect()
}

/// The parts of images and PDFs.
fn parts(shown: Vec<(&Media, &str)>) -> impl Iterator<Item = Value> {
    shown.into_iter().map(|(media, data)| {
        let url = data_url(media, data);
        match media.kind.is_image() {
            true => json!({ "type": "input_image", "image_url": url, "detail": "auto" }),
            false => {
                json!({ "type": "input_file", "filename": file_name(media), "file_data": url })
            }
        }
    })
}

fn answered(author: Author<'_>, answer: &Answer) -> Vec<Value> {
    if let Some(own) = author.own(answer) {
        return own.blocks.clone();
    }
    let text = (!answer.text.is_empty()).then(|| message("assistant", "output_text", &answer.text));
    let calls = answer.calls.iter().map(|call| {
        json!({
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": as_object(&call.input).to_string(),
        })
    });
    text.into_iter().chain(calls).collect()
}

fn message(role: &str, kind: &str, text: &str) -> Value {
    json!({ "type": "message", "role": role, "content": [{ "type": kind, "text": text }] })
}

#[derive(Debug)]
pub(super) struct AnswerDecoder {
    draft: Draft,
    /// The calls so far: output index and index in the draft.
    calls: Vec<(u64, usize)>,
    /// The complete items so far, in order of their output index.
    items: Vec<(u64, Value)>,
}

impl AnswerDecoder {
    pub(super) fn new(draft: Draft) -> Self {
        Self {
            draft,
            calls: Vec::new(),
            items: Vec::new(),
        }
    }

    /// Begins the call at this output index, if it has not begun.
    fn call(&mut self, index: u64, item: &Value, on_delta: OnDelta<'_>) -> usize {
        if let Some((_, call)) = self.calls.iter().find(|(at, _)| *at == index) {
            return *call;
        }
        let field = |name: &str| item[name].as_str().unwrap_or("").to_owned();
        let (id, name) = (field("call_id"), field("name"));
        let call = self.draft.begin_call(&id, &name, on_delta);
        self.calls.push((index, call));
        call
    }

    fn item_added(&mut self, index: u64, item: &Value, on_delta: OnDelta<'_>) {
        match item["type"].as_str() {
            Some("function_call") => {
                self.call(index, item, on_delta);
            }
            Some("message") => self.draft.begin_paragraph(on_delta),
            _ => {}
        }
    }

    fn item_done(&mut self, index: u64, item: Value, on_delta: OnDelta<'_>) {
        if item["type"] == "function_call" {
            let call = self.call(index, &item, on_delta);
            // Some servers send no deltas of the arguments.
            if self.draft.input_of(call).is_empty() {
                let arguments = item["arguments"].as_str().unwrap_or("");
                self.draft.push_input(call, arguments, on_delta);
            }
        }
        self.items.push((index, item));
    }

    fn count(&mut self, usage: &Value) {
        let count = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let counted = &mut self.draft.usage;
        counted.input = count("/input_tokens");
        counted.output = count("/output_tokens");
        counted.cache_read = count("/input_tokens_details/cached_tokens");
        counted.cache_write = count("/input_tokens_details/cache_write_tokens");
    }
}

impl Decode for AnswerDecoder {
    fn event(&mut self, data: &str, on_delta: OnDelta<'_>) -> Result<Progress, EventError> {
        let event: Event =
            serde_json::from_str(data).map_err(|error| EventError::Invalid(error.to_string()))?;
        match event {
            Event::ItemAdded { output_index, item } => {
                self.item_added(output_index, &item, on_delta);
            }
            Event::ItemDone { output_index, item } => self.item_done(output_index, item, on_delta),
            Event::Text { delta } => self.draft.push_text(&delta, on_delta),
            Event::Refusal { delta } => {
                self.draft.push_text(&delta, on_delta);
                self.draft.stop = Some(Stop::Refused);
            }
            Event::ThoughtBegins {} => self.draft.begin_thought(),
            Event::Summary { delta } | Event::Thought { delta } => {
                self.draft.push_thought(&delta, on_delta);
            }
            Event::Arguments {
                output_index,
                delta,
            } => {
                let call = self.calls.iter().find(|(at, _)| *at == output_index);
                if let Some((_, call)) = call {
                    self.draft.push_input(*call, &delta, on_delta);
                }
            }
            Event::Completed { response } => {
                self.count(&response["usage"]);
                self.draft.stop.get_or_insert(Stop::Finished);
                return Ok(Progress::Ended);
            }
            Event::Incomplete { response } => {
                self.count(&response["usage"]);
                let reason = &response["incomplete_details"]["reason"];
                self.draft.stop = Some(match reason.as_str() {
                    Some("content_filter") => Stop::Refused,
                    _ => Stop::Length,
                });
                return Ok(Progress::Ended);
            }
            Event::Failed { response } => return Err(EventError::Error(response["error"].clone())),
            Event::Error { code, message } => {
                let error = json!({ "code": code, "message": message });
                return Err(EventError::Error(error));
            }
            Event::Unknown => {}
        }
        Ok(Progress::More)
    }

    fn finish(self: Box<Self>, ended: bool) -> Option<Answer> {
        let Self {
            draft, mut items, ..
        } = *self;
        if !ended {
            return None;
        }
        items.sort_by_key(|(index, _)| *index);
        let mut items: Vec<Value> = items.into_iter().map(|(_, item)| item).collect();
        // The API rejects reasoning without the item that followed it, which a truncated answer lacks.
        while items.last().is_some_and(|item| item["type"] == "reasoning") {
            items.pop();
        }
        draft.finish_with(|answer| {
            let is_call = |item: &Value| item["type"] == "function_call";
            let complete = items.iter().filter(|item| is_call(item)).count();
            // A truncated answer may have calls without an item. Their results would reference no call, and the API
            // rejects such results, so the next request rebuilds the items from the calls.
            let is_truncated = matches!(answer.stop, Stop::Length | Stop::Refused);
            if is_truncated || complete != answer.calls.len() {
                return None;
            }
            let mut calls = answer.calls.iter();
            for item in items.iter_mut().filter(|item| is_call(item)) {
                // Use the id that the call's result will reference.
                if let Some(call) = calls.next() {
                    item["call_id"] = call.id.clone().into();
                }
            }
            (!items.is_empty()).then_some(items)
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum Event {
    #[serde(rename = "response.output_item.added")]
    ItemAdded { output_index: u64, item: Value },
    #[serde(rename = "response.output_item.done")]
    ItemDone { output_index: u64, item: Value },
    #[serde(rename = "response.output_text.delta")]
    Text { delta: String },
    #[serde(rename = "response.refusal.delta")]
    Refusal { delta: String },
    #[serde(rename = "response.reasoning_summary_part.added")]
    ThoughtBegins {},
    #[serde(rename = "response.reasoning_summary_text.delta")]
    Summary { delta: String },
    #[serde(rename = "response.reasoning_text.delta")]
    Thought { delta: String },
    #[serde(rename = "response.function_call_arguments.delta")]
    Arguments { output_index: u64, delta: String },
    #[serde(rename = "response.completed")]
    Completed { response: Value },
    #[serde(rename = "response.incomplete")]
    Incomplete { response: Value },
    #[serde(rename = "response.failed")]
    Failed { response: Value },
    #[serde(rename = "error")]
    Error {
        code: Option<Value>,
        message: Option<String>,
    },
    /// Events of other parts of an item, and events that were added to the API later.
    #[serde(other)]
    Unknown,
}
