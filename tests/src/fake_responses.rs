//! The rules of OpenAI's Responses API for stateless conversations. A script for the fake model server. A request that
//! breaks a rule receives the provider's error.
//!
//! Written from the provider's documentation and from errors in public issues of 2025 and 2026, not from a recording of
//! the service:
//! - Function tools of GPT-5.6 need this API: Chat Completions refuses them.
//! - Without storage, a reasoning item needs its encrypted content, unchanged.
//! - A reasoning item and the item after it in the answer belong together: a request contains both, one directly after
//!   the other, or neither.
//! - Each call has an output, and each output its call.

use serde_json::{Value, json};

use crate::fake_model_server::{Reply, Request};

/// The state of the provider: the remaining answers, and the items that it has produced.
#[derive(Debug)]
pub struct FakeResponses {
    answers: std::vec::IntoIter<Vec<Value>>,
    /// The items of all answers, in order.
    produced: Vec<Value>,
}

impl FakeResponses {
    /// Answers with these output items, in turn.
    pub fn new(answers: impl IntoIterator<Item = Vec<Value>>) -> Self {
        Self {
            answers: answers.into_iter().collect::<Vec<_>>().into_iter(),
            produced: Vec::new(),
        }
    }

    /// The reply to a request.
    pub fn reply(&mut self, request: &Request) -> Reply {
        if let Err(message) = self.check(request) {
            let error = json!({ "type": "invalid_request_error", "message": message });
            return Reply::json(400, &json!({ "error": error }));
        }
        let Some(items) = self.answers.next() else {
            return Reply::error(400, "the script has no reply to this");
        };
        self.produced.extend(items.iter().cloned());
        stream(&items)
    }

    fn check(&self, request: &Request) -> Result<(), String> {
        let body = &request.body;
        if !request.path.ends_with("/responses") {
            return Err(format!(
                "Function tools with reasoning_effort are not supported for {} in {}. To use function tools, use \
                 /v1/responses or set reasoning_effort to 'none'.",
                request.model(),
                request.path
            ));
        }
        let empty = Vec::new();
        let input = body["input"].as_array().unwrap_or(&empty);
        for (at, item) in input.iter().enumerate() {
            let id = item["id"].as_str().unwrap_or("");
            let kind = item["type"].as_str().unwrap_or("");
            let place = self
                .produced
                .iter()
                .position(|known| known["id"].as_str() == Some(id));
            let before = place.and_then(|place| self.produced.get(place.checked_sub(1)?));
            let reasoning = before.filter(|before| before["type"] == "reasoning");
            if let Some(reasoning) = reasoning
                && (at == 0 || input[at - 1]["id"] != reasoning["id"])
            {
                return Err(format!(
                    "Item '{id}' of type '{kind}' was provided without its required 'reasoning' item: {}.",
                    reasoning["id"]
                ));
            }
            if let (Some(place), "reasoning") = (place, kind) {
                if body["store"] != false || item["encrypted_content"].is_null() {
                    return Err(format!(
                        "Item with id '{id}' not found. Items are not persisted when `store` is set to false."
                    ));
                }
                if item["encrypted_content"] != self.produced[place]["encrypted_content"] {
                    return Err(format!(
                        "The encrypted content for item {id} could not be verified."
                    ));
                }
                let next = self.produced.get(place + 1).map(|next| &next["id"]);
                if next.is_none() || next != input.get(at + 1).map(|next| &next["id"]) {
                    return Err(format!(
                        "Item '{id}' of type 'reasoning' was provided without its required following item."
                    ));
                }
            }
        }
        let ids = |wanted: &str| -> Vec<&Value> {
            let items = input.iter().filter(|item| item["type"] == wanted);
            items.map(|item| &item["call_id"]).collect()
        };
        let (calls, outputs) = (ids("function_call"), ids("function_call_output"));
        if let Some(call) = calls.iter().find(|call| !outputs.contains(call)) {
            return Err(format!("No tool output found for function call {call}."));
        }
        match outputs.iter().find(|output| !calls.contains(output)) {
            Some(output) => Err(format!(
                "No tool call found for function call output with call_id {output}."
            )),
            None => Ok(()),
        }
    }
}

/// Streams these items. Calls and texts arrive in pieces before the complete item.
fn stream(items: &[Value]) -> Reply {
    let mut events = vec![json!({ "type": "response.created", "response": {} })];
    for (index, item) in items.iter().enumerate() {
        let mut added = item.clone();
        // The encrypted content of a new item may be incomplete.
        added["encrypted_content"] = Value::Null;
        added["arguments"] = "".into();
        events.push(
            json!({ "type": "response.output_item.added", "output_index": index, "item": added }),
        );
        let mut delta = |kind: &str, text: &str| {
            let middle = text.len() / 2;
            for part in [&text[..middle], &text[middle..]] {
                events.push(json!({ "type": kind, "output_index": index, "delta": part }));
            }
        };
        let text = |pointer: &str| item.pointer(pointer).and_then(Value::as_str).unwrap_or("");
        match item["type"].as_str() {
            Some("reasoning") => delta(
                "response.reasoning_summary_text.delta",
                text("/summary/0/text"),
            ),
            Some("message") => delta("response.output_text.delta", text("/content/0/text")),
            _ => delta("response.function_call_arguments.delta", text("/arguments")),
        }
        events.push(
            json!({ "type": "response.output_item.done", "output_index": index, "item": item }),
        );
    }
    let usage = json!({
        "input_tokens": 100,
        "input_tokens_details": { "cached_tokens": 60 },
        "output_tokens": 10,
    });
    events.push(json!({ "type": "response.completed", "response": { "usage": usage } }));
    let events: Vec<_> = events.iter().map(Value::to_string).collect();
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    Reply::events(&events)
}
