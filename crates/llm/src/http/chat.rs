//! OpenAI's Chat Completions API, as implemented by OpenAI and other providers. Called by `http`.
//!
//! Implementations differ in the fields that they omit or repeat. If two implementations require opposite requests, the
//! provider's `Quirks` decide.

use agent_team_protocol::value::Effort;
use agent_team_providers::{EffortField, Quirks};
use serde::Deserialize;
use serde_json::{Value, json};

use super::decode::{Decode, EventError, Progress};
use super::draft::{Author, Draft, OnDelta, as_object, result_text};
use super::effort;
use super::loaded::{Loaded, data_url, file_name};
use super::prefix::Prefix;
use super::reasoning::{self, Entries};
use crate::media::Media;
use crate::model::{Item, Prompt, Stop, Thought, ToolResult};

/// The last event of a stream.
const DONE: &str = "[DONE]";

/// The signature that Google defines for calls of another model. Without a signature, Gemini 3 and later reject a call
/// of the current turn. Source: ai.google.dev/gemini-api/docs/thought-signatures, read in November 2026.
const FOREIGN_CALL: &str = "skip_thought_signature_validator";

/// The properties of the model and its provider that determine the form of a request.
#[derive(Debug)]
pub(super) struct Dialect<'a> {
    pub(super) model: &'a str,
    /// This model, as an author: the body includes no thoughts of other authors.
    pub(super) author: Author<'a>,
    pub(super) quirks: &'a Quirks,
    /// Whether requests repeat the model's reasoning in `reasoning_content`.
    pub(super) takes_thoughts: bool,
    /// `None`: no effort is configured.
    pub(super) effort: Option<Effort>,
    /// `None`: the model receives no effort.
    pub(super) effort_field: Option<EffortField>,
}

/// A request, and the data about it that its answer must store.
pub(super) struct Request {
    pub(super) body: Value,
    /// The digest of the prefix to which the answer's `reasoning_details` may be bound, at OpenRouter.
    pub(super) prefix: Option<String>,
}

pub(super) fn request(dialect: &Dialect<'_>, prompt: &Prompt<'_>, loaded: &Loaded) -> Request {
    let Dialect { model, quirks, .. } = *dialect;
    let mut prefix = quirks.is_openrouter.then(|| {
        // As in `messages`, the prefix depends on whether thinking is off.
        let thinks = dialect.effort != Some(Effort::None);
        Prefix::new(&json!({ "model": model, "tools": prompt.tools, "thinks": thinks }))
    });
    let mut messages = messages(dialect, prompt, loaded, prefix.as_mut());
    if quirks.is_openrouter && model.contains("claude") {
        mark_for_cache(&mut messages);
    }
    let mut body = json!({
        "model": model,
        "stream": true,
        "messages": messages,
    });
    let has_tools = !prompt.tools.is_empty();
    let fields = effort::of_chat(dialect.effort_field, model, dialect.effort, has_tools);
    for (field, value) in fields {
        body[field] = value;
    }
    if quirks.usage_on_request {
        body["stream_options"] = json!({ "include_usage": true });
    }
    if !prompt.tools.is_empty() {
        body["tools"] = prompt
            .tools
            .iter()
            .map(|tool| {
                json!({
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": tool.input,
                    },
                })
            })
            .collect();
    }
    let prefix = prefix.map(|prefix| prefix.digest());
    Request { body, prefix }
}

/// Marks the system text, and the ends of the last inputs: OpenRouter passes the marks on to Anthropic, which caches
/// nothing without them and permits four.
fn mark_for_cache(messages: &mut [Value]) {
    let is_input = |role: &Value| role == "user" || role == "tool";
    let mut ends: Vec<usize> = (0..messages.len())
        .filter(|at| is_input(&messages[*at]["role"]))
        .filter(|at| {
            messages
                .get(at + 1)
                .is_none_or(|next| !is_input(&next["role"]))
        })
        .collect();
    ends.drain(..ends.len().saturating_sub(3));
    if messages
        .first()
        .is_some_and(|message| message["role"] == "system")
    {
        ends.push(0);
    }
    for at in ends {
        let mark = json!({ "type": "ephemeral" });
        let parts = messages[at]["content"].as_array_mut();
        if let Some(part) = parts.and_then(|parts| parts.last_mut()) {
            part["cache_control"] = mark;
        } else if let Some(text) = messages[at]["content"].as_str() {
            let part = json!({ "type": "text", "text": text, "cache_control": mark });
            messages[at]["content"] = json!([part]);
        }
    }
}

/// Returns the messages of the prompt, and adds them to `prefix`, which is present only for OpenRouter.
fn messages(
    dialect: &Dialect<'_>,
    prompt: &Prompt<'_>,
    loaded: &Loaded,
    mut prefix: Option<&mut Prefix>,
) -> Vec<Value> {
    let Dialect {
        author,
        quirks,
        model,
        ..
    } = *dialect;
    let needs_signature = effort::is_signing_gemini(dialect.effort_field, model);
    let mut messages: Vec<Value> = Vec::new();
    // The number of messages in `prefix`. A message is added only when the next answer follows: until then, inputs are
    // appended to the message.
    let mut bound = 0;
    if !prompt.system.is_empty() {
        messages.push(json!({ "role": "system", "content": prompt.system }));
    }
    for item in prompt.items {
        match item {
            Item::Input { text } => push_input(&mut messages, quirks, text),
            Item::Shown { media } => {
                let is_behind_results = quirks.results_before_answers
                    && messages.last().is_some_and(|last| last["role"] == "tool");
                let loaded = match is_behind_results {
                    true => &Loaded::default(),
                    false => loaded,
                };
                let (title, files) = (loaded.title(media), loaded.shown(media));
                if files.is_empty() {
                    push_input(&mut messages, quirks, &title);
                    continue;
                }
                let mut shown = with_media(&title, files);
                // Many chat templates require user and assistant messages to alternate.
                if let Some(last) = messages.pop_if(|last| last["role"] == "user") {
                    let mut parts = match last["content"].as_array() {
                        Some(parts) => parts.clone(),
                        None => vec![json!({ "type": "text", "text": last["content"] })],
                    };
                    parts.extend(shown["content"].as_array().cloned().unwrap_or_default());
                    shown["content"] = parts.into();
                }
                messages.push(shown);
            }
            Item::Answered(answer) => {
                if answer.text.is_empty() && answer.calls.is_empty() {
                    continue;
                }
                let text = Some(&answer.text).filter(|text| !text.is_empty());
                let mut message = json!({ "role": "assistant", "content": text });
                let own = || {
                    answer
                        .thoughts
                        .iter()
                        .filter(|thought| thought.by == author.by)
                };
                let thoughts: String = own().map(|thought| thought.text.as_str()).collect();
                if dialect.takes_thoughts && !thoughts.is_empty() {
                    message["reasoning_content"] = thoughts.into();
                }
                if let Some(prefix) = prefix.as_deref_mut() {
                    prefix.extend("", &messages[bound..]);
                    bound = messages.len();
                    let digest = prefix.digest();
                    if let Some(own) = author.own(answer) {
                        let is_behind_prefix = own.prefix.as_ref() == Some(&digest);
                        let entries = own.blocks.iter();
                        let entries = entries
                            .filter(|entry| is_behind_prefix || !reasoning::binds(entry, model));
                        let entries: Vec<_> = entries.cloned().collect();
                        if !entries.is_empty() {
                            message["reasoning_details"] = entries.into();
                        }
                    }
                }
                let mut calls: Vec<_> = answer
                    .calls
                    .iter()
                    .map(|call| {
                        json!({
                            "id": call.id,
                            "type": "function",
                            "function": {
                                "name": call.name,
                                "arguments": as_object(&call.input).to_string(),
                            },
                        })
                    })
                    .collect();
                if let Some(first) = calls.first_mut() {
                    let signature = own().find_map(signature_of_calls);
                    let foreign = needs_signature.then_some(FOREIGN_CALL);
                    if let Some(signature) = signature.or(foreign) {
                        first["extra_content"] =
                            json!({ "google": { "thought_signature": signature } });
                    }
                    message["tool_calls"] = calls.into();
                }
                messages.push(message);
            }
            Item::Returned { results } => {
                let shown = match quirks.results_before_answers {
                    true => &Loaded::default(),
                    false => loaded,
                };
                messages.extend(results.iter().map(|it| result(it, shown)));
                messages.extend(media_of(results, shown));
            }
        }
    }
    if let Some(prefix) = prefix {
        prefix.extend("", &messages[bound..]);
    }
    messages
}

/// Adds a text of the user.
fn push_input(messages: &mut Vec<Value>, quirks: &Quirks, text: &str) {
    match messages.last_mut() {
        // Many chat templates require user and assistant messages to alternate.
        Some(last) if last["role"] == "user" => append(last, text),
        Some(last) if last["role"] == "tool" && quirks.results_before_answers => {
            append(last, text);
        }
        _ => messages.push(json!({ "role": "user", "content": text })),
    }
}

fn append(message: &mut Value, text: &str) {
    if let Some(parts) = message["content"].as_array_mut() {
        return parts.push(json!({ "type": "text", "text": text }));
    }
    let before = message["content"].as_str().unwrap_or("");
    message["content"] = format!("{before}\n\n{text}").into();
}

fn result(result: &ToolResult, loaded: &Loaded) -> Value {
    json!({
        "role": "tool",
        "tool_call_id": result.id,
        "content": loaded.text(result, &result_text(result)),
    })
}

/// The images and PDFs of these results, in a message of their own: the API accepts only text in a message with the
/// role `tool`.
fn media_of(results: &[ToolResult], loaded: &Loaded) -> Option<Value> {
    let shown: Vec<_> = results
        .iter()
        .flat_map(|it| loaded.shown(&it.media))
        .collect();
    let names: Vec<&str> = shown.iter().map(|(media, _)| media.name.as_str()).collect();
    let text = format!("Files of the results above, in order: {}", names.join(", "));
    (!names.is_empty()).then(|| with_media(&text, shown))
}

/// A message of the user with a text, images and PDFs.
fn with_media(text: &str, shown: Vec<(&Media, &str)>) -> Value {
    let parts = shown.into_iter().map(|(media, data)| {
        let url = data_url(media, data);
        match media.kind.is_image() {
            true => json!({ "type": "image_url", "image_url": { "url": url } }),
            false => {
                json!({ "type": "file", "file": { "filename": file_name(media), "file_data": url } })
            }
        }
    });
    let text = json!({ "type": "text", "text": text });
    let content: Vec<Value> = std::iter::once(text).chain(parts).collect();
    json!({ "role": "user", "content": content })
}

/// The signature of an answer's calls. Gemini signs the first call, and requires the signature in later requests.
fn signature_of_calls(thought: &Thought) -> Option<&str> {
    let signature = thought.signature.as_deref();
    signature.filter(|_| thought.text.is_empty())
}

#[derive(Debug)]
pub(super) struct AnswerDecoder {
    draft: Draft,
    /// The calls so far: the server's index, the server's id, and the index in the draft.
    calls: Vec<(u64, String, usize)>,
    reasoning: Entries,
    is_openrouter: bool,
}

impl AnswerDecoder {
    pub(super) fn new(draft: Draft, quirks: &Quirks) -> Self {
        Self {
            draft,
            is_openrouter: quirks.is_openrouter,
            calls: Vec::new(),
            reasoning: Entries::default(),
        }
    }

    fn call(&mut self, call: CallPart, on_delta: OnDelta<'_>) {
        let CallPart {
            index,
            id,
            function,
            extra_content,
        } = call;
        let id = id.unwrap_or_default();
        let name = function.name.unwrap_or_default();
        let open = self.calls.iter().rfind(|(at, ..)| *at == index);
        let continues = open.filter(|(_, open, number)| {
            // Some servers give all calls the same index; some repeat the id or the name in every chunk.
            if !id.is_empty() && !open.is_empty() {
                *open == id
            } else {
                name.is_empty()
                    || serde_json::from_str::<Value>(self.draft.input_of(*number)).is_err()
            }
        });
        let number = match continues {
            Some((.., number)) => *number,
            None => {
                let number = self.draft.begin_call(&id, &name, on_delta);
                self.calls.push((index, id, number));
                number
            }
        };
        let signature = extra_content.and_then(|extra| {
            let signature = extra.pointer("/google/thought_signature")?;
            Some(signature.as_str()?.to_owned())
        });
        if number == 0 && signature.is_some() {
            self.draft.begin_thought();
            self.draft.thought().signature = signature;
        }
        match function.arguments {
            Some(Value::String(fragment)) => self.draft.push_input(number, &fragment, on_delta),
            Some(Value::Null) | None => {}
            Some(whole) => self.draft.push_input(number, &whole.to_string(), on_delta),
        }
    }
}

impl Decode for AnswerDecoder {
    fn event(&mut self, data: &str, on_delta: OnDelta<'_>) -> Result<Progress, EventError> {
        if data.trim() == DONE {
            return Ok(Progress::Ended);
        }
        let chunk: Chunk =
            serde_json::from_str(data).map_err(|error| EventError::Invalid(error.to_string()))?;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(EventError::Error(error));
        }
        if let Some(usage) = chunk.usage {
            usage.put_into(&mut self.draft, self.is_openrouter);
        }
        for choice in chunk.choices.into_iter().flatten().take(1) {
            let part = choice.delta.unwrap_or_default();
            for detail in part.reasoning_details.into_iter().flatten() {
                self.reasoning.push(detail);
            }
            let thought = part.reasoning_content.or(part.reasoning);
            self.draft
                .push_thought(&thought.unwrap_or_default(), on_delta);
            match part.content {
                Some(Value::String(text)) => self.draft.push_text(&text, on_delta),
                Some(Value::Array(parts)) => {
                    for part in parts {
                        self.part(&part, on_delta);
                    }
                }
                _ => {}
            }
            let refusal = part.refusal.filter(|refusal| !refusal.is_empty());
            if let Some(refusal) = refusal {
                self.draft.push_text(&refusal, on_delta);
                self.draft.stop = Some(Stop::Refused);
            }
            for call in part.tool_calls.into_iter().flatten() {
                self.call(call, on_delta);
            }
            let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) else {
                continue;
            };
            let stop = match reason.as_str() {
                "error" => {
                    return Err(EventError::Error(
                        json!({ "message": "the server aborted the answer" }),
                    ));
                }
                "tool_calls" | "function_call" => Stop::Calls,
                "length" | "model_length" => Stop::Length,
                "content_filter" => Stop::Refused,
                _ => Stop::Finished,
            };
            self.draft.stop.get_or_insert(stop);
        }
        Ok(Progress::More)
    }

    fn finish(mut self: Box<Self>, ended: bool) -> Option<crate::model::Answer> {
        // Some servers omit `[DONE]`, others the finish reason. An answer with neither was truncated.
        if ended {
            self.draft.stop.get_or_insert(Stop::Finished);
        }
        let Self {
            draft, reasoning, ..
        } = *self;
        draft.finish_with(|_| reasoning.finish())
    }
}

impl AnswerDecoder {
    /// Adds a part of a content list. Mistral's reasoning models send such lists instead of texts.
    fn part(&mut self, part: &Value, on_delta: OnDelta<'_>) {
        if let Some(text) = part["text"].as_str() {
            self.draft.push_text(text, on_delta);
        }
        for thought in part["thinking"].as_array().into_iter().flatten() {
            self.draft
                .push_thought(thought["text"].as_str().unwrap_or(""), on_delta);
        }
    }
}

#[derive(Debug, Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Counted>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    delta: Option<Part>,
    finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Part {
    content: Option<Value>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    reasoning_details: Option<Vec<Value>>,
    refusal: Option<String>,
    tool_calls: Option<Vec<CallPart>>,
}

#[derive(Debug, Deserialize)]
struct CallPart {
    #[serde(default)]
    index: u64,
    id: Option<String>,
    #[serde(default)]
    function: FunctionPart,
    extra_content: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
struct FunctionPart {
    name: Option<String>,
    arguments: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Counted {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
    prompt_cache_hit_tokens: Option<u64>,
    /// The cost of the answer, in US dollars at OpenRouter. Other servers may send another value or type.
    cost: Option<Value>,
    cost_details: Option<Value>,
    is_byok: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

impl Counted {
    /// The dollars that OpenRouter reports for the answer. With the user's own key at the provider (BYOK), `cost` is
    /// only OpenRouter's fee; the provider charges the rest.
    fn dollars(&self) -> Option<f64> {
        let cost = self.cost.as_ref()?.as_f64()?;
        if self.is_byok != Some(Value::Bool(true)) {
            return Some(cost);
        }
        let details = self.cost_details.as_ref()?;
        Some(cost + details["upstream_inference_cost"].as_f64()?)
    }

    fn put_into(self, draft: &mut Draft, is_openrouter: bool) {
        let cost = self.dollars().filter(|_| is_openrouter);
        let details = self.prompt_tokens_details.unwrap_or_default();
        let usage = &mut draft.usage;
        usage.input = self.prompt_tokens.unwrap_or(0);
        // Gemini includes thoughts only in the total.
        let rest = self.total_tokens.unwrap_or(0).saturating_sub(usage.input);
        usage.output = self.completion_tokens.unwrap_or(0).max(rest);
        let read = details.cached_tokens.or(self.prompt_cache_hit_tokens);
        usage.cache_read = read.unwrap_or(0);
        usage.cache_write = details.cache_write_tokens.unwrap_or(0);
        let cost = cost.filter(|cost| cost.is_finite() && *cost >= 0.0);
        // The number is far below 2^52, so no digit is lost.
        usage.micro_usd = cost.map(|dollars| (dollars * 1e6).round() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_includes_the_charge_of_the_users_own_key() {
        for (usage, dollars) in [
            (json!({ "cost": 0.5 }), Some(0.5)),
            (json!({ "cost": { "total": 1 } }), None),
            (json!({ "cost": "free" }), None),
            (json!({ "cost": 0, "is_byok": true }), None),
            (
                json!({ "cost": 0.25, "is_byok": true, "cost_details": { "upstream_inference_cost": 0.5 } }),
                Some(0.75),
            ),
            (
                json!({ "cost": 0.25, "is_byok": false, "cost_details": { "upstream_inference_cost": null } }),
                Some(0.25),
            ),
        ] {
            let counted = Counted::deserialize(&usage).expect("a valid usage");
            assert_eq!(counted.dollars(), dollars, "{usage}");
        }
    }
}
