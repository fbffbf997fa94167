//! An answer of Messages in its provider's own blocks, put together again from the pieces of a stream. Called by
//! `messages`, which keeps them when the provider has searched the web: only so the next request can carry the pages
//! back that it found.

use serde_json::{Value, json};

use super::super::Answer;
use super::draft::as_object;

/// The blocks so far, in their order.
#[derive(Debug, Default)]
pub(super) struct Blocks(Vec<Block>);

#[derive(Debug)]
struct Block {
    /// The provider's number of it.
    index: u64,
    value: Value,
    /// Arguments, while they come in pieces.
    input: String,
}

impl Blocks {
    pub(super) fn begin(&mut self, index: u64, value: Value) {
        let input = String::new();
        self.0.push(Block {
            index,
            value,
            input,
        });
    }

    pub(super) fn go_on(&mut self, index: u64, delta: &Value) {
        let block = self.0.iter_mut().rfind(|block| block.index == index);
        let Some(block) = block else { return };
        let mut grow = |field: &str| {
            if let (Some(more), Value::Object(value)) = (delta[field].as_str(), &mut block.value) {
                let before = value.get(field).and_then(Value::as_str).unwrap_or("");
                let grown = format!("{before}{more}");
                value.insert(field.to_owned(), grown.into());
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
            "citations_delta" => match &mut block.value["citations"] {
                Value::Array(citations) => citations.push(delta["citation"].clone()),
                other => *other = json!([delta["citation"]]),
            },
            _ => {}
        }
    }

    /// What the search `id` asks for.
    pub(super) fn query(&self, id: &str) -> String {
        let search = self.0.iter().find(|block| block.value["id"] == id);
        let input = search.map(|block| match block.input.is_empty() {
            true => block.value["input"].clone(),
            false => as_object(&block.input),
        });
        let query = input.as_ref().and_then(|input| input["query"].as_str());
        query.unwrap_or("").to_owned()
    }

    /// All blocks as the next request carries them back, if one of them is a search; its calls are those of `answer`.
    pub(super) fn finish(self, answer: &Answer) -> Option<Vec<Value>> {
        let is = |block: &Block, kind: &str| block.value["type"] == kind;
        if !self.0.iter().any(|block| is(block, "server_tool_use")) {
            return None;
        }
        let mut calls = answer.calls.iter();
        let blocks = self.0.into_iter().filter_map(|mut block| {
            if is(&block, "tool_use") {
                // Under the id that its result will name.
                let call = calls.next()?;
                block.value["id"] = call.id.clone().into();
                block.value["input"] = as_object(&call.input);
            } else if !block.input.is_empty() {
                block.value["input"] = as_object(&block.input);
            }
            let blank = block.value["text"].as_str().map(str::trim) == Some("");
            // Blank texts are refused.
            (!(is(&block, "text") && blank)).then_some(block.value)
        });
        Some(blocks.collect())
    }
}
