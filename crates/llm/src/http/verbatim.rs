//! Reassembles the provider's own blocks of a Messages answer from the stream. Called by `messages`, which keeps the
//! blocks if text and calls alone do not restore them: the next request must send thoughts and search results back
//! unchanged and in the same order.

use serde_json::{Map, Value, json};

use super::draft::as_object;
use crate::model::Answer;

/// The blocks so far, in order.
#[derive(Debug, Default)]
pub(super) struct Blocks(Vec<Block>);

#[derive(Debug)]
struct Block {
    /// The provider's block index.
    index: u64,
    value: Map<String, Value>,
    /// The arguments of a call so far, as JSON text that arrives in pieces.
    input: String,
}

impl Block {
    fn text(&self, field: &str) -> &str {
        self.value.get(field).and_then(Value::as_str).unwrap_or("")
    }

    fn is(&self, kind: &str) -> bool {
        self.text("type") == kind
    }
}

/// Whether the block is a thought, readable or encrypted.
pub(super) fn is_thought(block: &Value) -> bool {
    let kind = block["type"].as_str().unwrap_or("");
    matches!(kind, "thinking" | "redacted_thinking")
}

impl Blocks {
    /// Begins a block. Ignores a value that is not an object.
    pub(super) fn begin(&mut self, index: u64, value: Value) {
        let Value::Object(value) = value else { return };
        let input = String::new();
        self.0.push(Block {
            index,
            value,
            input,
        });
    }

    pub(super) fn apply_delta(&mut self, index: u64, delta: &Value) {
        let block = self.0.iter_mut().rfind(|block| block.index == index);
        let Some(block) = block else { return };
        let mut grow = |field: &str| {
            if let Some(more) = delta[field].as_str() {
                let before = block.text(field);
                let grown = format!("{before}{more}");
                block.value.insert(field.to_owned(), grown.into());
            }
        };
        match delta["type"].as_str().unwrap_or("") {
            "text_delta" => grow("text"),
            "thinking_delta" => grow("thinking"),
            "signature_delta" => grow("signature"),
            "input_json_delta" => {
                let more = delta["partial_json"].as_str();
                block.input.push_str(more.unwrap_or(""));
            }
            "citations_delta" => {
                let citation = delta["citation"].clone();
                match block.value.get_mut("citations").map(Value::as_array_mut) {
                    Some(Some(citations)) => citations.push(citation),
                    Some(None) | None => {
                        block
                            .value
                            .insert("citations".to_owned(), json!([citation]));
                    }
                }
            }
            _ => {}
        }
    }

    /// The query of the search `id`.
    pub(super) fn query(&self, id: &str) -> String {
        let search = self.0.iter().find(|block| block.text("id") == id);
        let input = search.map(|block| match block.input.is_empty() {
            true => block.value.get("input").cloned().unwrap_or_default(),
            false => as_object(&block.input),
        });
        let query = input.as_ref().and_then(|input| input["query"].as_str());
        query.unwrap_or("").to_owned()
    }

    /// Returns all blocks as the next request sends them back, or `None` if the text and the calls of `answer` restore
    /// them. The tool calls among the blocks get the ids and arguments of the calls in `answer`. Unfinished
    /// thoughts are left out: they have no signature, and the API rejects them.
    pub(super) fn finish(self, answer: &Answer) -> Option<Vec<Value>> {
        let is_call = |block: &Block| block.is("tool_use");
        let calls_from = self.0.iter().take_while(|block| block.is("text")).count();
        if calls_from <= 1 && self.0[calls_from..].iter().all(is_call) {
            return None;
        }
        let mut calls = answer.calls.iter();
        let blocks = self.0.into_iter().filter_map(|mut block| {
            let input = "input".to_owned();
            if block.is("tool_use") {
                // Use the id that the call's result will reference.
                let call = calls.next()?;
                block.value.insert("id".to_owned(), call.id.clone().into());
                block.value.insert(input, as_object(&call.input));
            } else if !block.input.is_empty() {
                block.value.insert(input, as_object(&block.input));
            }
            // The API rejects blank texts.
            let blank = block.is("text") && block.text("text").trim().is_empty();
            let unsigned = block.is("thinking") && block.text("signature").trim().is_empty();
            (!blank && !unsigned).then_some(Value::Object(block.value))
        });
        let blocks: Vec<_> = blocks.collect();
        (!blocks.is_empty()).then_some(blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsigned_thought_is_not_kept() {
        let thought = |signature: &str| json!({ "type": "thinking", "thinking": "Hm.", "signature": signature });
        let mut blocks = Blocks::default();
        blocks.begin(0, thought("sig"));
        blocks.begin(1, json!({ "type": "text", "text": "ok" }));
        blocks.begin(2, thought(""));
        blocks.begin(3, json!({ "type": "thinking", "thinking": "Hm." }));
        let kept = blocks.finish(&Answer::default());
        let text = json!({ "type": "text", "text": "ok" });
        assert_eq!(kept, Some(vec![thought("sig"), text]));
        let mut blocks = Blocks::default();
        blocks.begin(0, thought(""));
        assert_eq!(blocks.finish(&Answer::default()), None);
    }
}
