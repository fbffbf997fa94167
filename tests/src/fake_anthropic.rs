//! The rules of Anthropic's Messages API for thoughts, for the order of blocks, and for cache marks. A script for the
//! fake model server. A request that breaks a rule receives the provider's error.
//!
//! Written from the provider's documentation of November 2026 (preserved thinking, tool use, prompt caching), not from
//! a recording of the service:
//! - The signature of a thought covers model, system text, tools and all blocks before the thought.
//! - Results follow their calls directly, and are the first blocks of their message.
//! - A request has at most four cache marks, and marks with a longer lifetime come first. A mark finds a cached prefix
//!   that ends at the block of the mark, or at one of the 19 blocks before that block.
//! - A budget for thoughts is at least 1,024 tokens and less than `max_tokens`. With a budget, the answer that begins a
//!   turn begins with a thought.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use crate::fake_model_server::{Reply, Request};

/// The token count of each block.
pub const BLOCK_TOKENS: u64 = 100;

/// The number of blocks at which a mark looks for the end of a cached prefix, including the block of the mark.
const LOOKBACK: usize = 20;

const MARKS_MAX: usize = 4;

/// The state of the provider: the remaining answers, and its cache.
#[derive(Debug)]
pub struct FakeAnthropic {
    answers: std::vec::IntoIter<Vec<Value>>,
    /// The hashes of the prefixes in the cache.
    cached: HashSet<u64>,
}

impl FakeAnthropic {
    /// Answers with these blocks, in turn. The provider signs the thoughts among them.
    pub fn new(answers: impl IntoIterator<Item = Vec<Value>>) -> Self {
        Self {
            answers: answers.into_iter().collect::<Vec<_>>().into_iter(),
            cached: HashSet::new(),
        }
    }

    /// The reply to a request.
    pub fn reply(&mut self, request: &Request) -> Reply {
        let mut conversation = Conversation::of(&request.body);
        if let Err(message) = conversation.check(&request.body) {
            let error = json!({ "type": "invalid_request_error", "message": message });
            return Reply::json(400, &json!({ "type": "error", "error": error }));
        }
        let read = self.read_cache(&conversation);
        let marks = conversation.marks.iter();
        self.cached
            .extend(marks.map(|mark| conversation.prefixes[*mark]));
        let Some(blocks) = self.answers.next() else {
            return Reply::error(400, "the script has no reply to this");
        };
        stream(
            conversation.signed(blocks),
            conversation.prefixes.len(),
            read,
        )
    }

    /// The number of blocks in the longest cached prefix that a mark finds.
    fn read_cache(&self, conversation: &Conversation) -> usize {
        let found = conversation.marks.iter().filter_map(|mark| {
            let first = (mark + 1).saturating_sub(LOOKBACK);
            let mut searched = (first..=*mark).rev();
            searched.find(|at| self.cached.contains(&conversation.prefixes[*at]))
        });
        found.max().map_or(0, |at| at + 1)
    }
}

/// A request as a sequence of blocks.
struct Conversation {
    /// The hash of everything up to the end of each block.
    prefixes: Vec<u64>,
    /// The indices of the blocks with a cache mark.
    marks: Vec<usize>,
    hash: DefaultHasher,
}

impl Conversation {
    fn of(body: &Value) -> Self {
        let mut hash = DefaultHasher::new();
        (body["model"].to_string(), body["tools"].to_string()).hash(&mut hash);
        let mut conversation = Self {
            prefixes: Vec::new(),
            marks: Vec::new(),
            hash,
        };
        for block in list(&body["system"]) {
            conversation.add("system", block);
        }
        conversation
    }

    fn add(&mut self, role: &str, block: &Value) {
        let mut plain = block.clone();
        let mark = plain
            .as_object_mut()
            .expect("a block")
            .remove("cache_control");
        if mark.is_some() {
            self.marks.push(self.prefixes.len());
        }
        (role, plain.to_string()).hash(&mut self.hash);
        self.prefixes.push(self.hash.finish());
    }

    /// The signature of a thought at the end of the sequence.
    fn signature(&self, thought: &Value) -> String {
        let mut hash = self.hash.clone();
        thought["thinking"].to_string().hash(&mut hash);
        format!("sig-{:x}", hash.finish())
    }

    fn check(&mut self, body: &Value) -> Result<(), String> {
        let mut open: Vec<&Value> = Vec::new();
        for (at, message) in list(&body["messages"]).iter().enumerate() {
            let role = message["role"].as_str().unwrap_or("");
            let blocks = list(&message["content"]);
            let results = blocks.iter().take_while(|it| it["type"] == "tool_result");
            let results: Vec<_> = results.map(|result| &result["tool_use_id"]).collect();
            if open.iter().any(|id| !results.contains(id)) {
                let before = at.saturating_sub(1);
                return Err(format!(
                    "messages.{before}: `tool_use` ids were found without `tool_result` blocks immediately after"
                ));
            }
            for (index, block) in blocks.iter().enumerate() {
                let kind = block["type"].as_str().unwrap_or("");
                let signature = match kind {
                    "thinking" => &block["signature"],
                    "redacted_thinking" => &block["data"],
                    _ => &Value::Null,
                };
                if !signature.is_null() && *signature != self.signature(block) {
                    return Err(format!(
                        "messages.{at}.content.{index}: Invalid `signature` in `{kind}` block. The block is bound to \
                         a different conversation. Remove the block, or set \
                         `thinking.block_binding.prefix_mismatch_behavior` to \"drop_block\"."
                    ));
                }
                self.add(role, block);
            }
            let calls = blocks.iter().filter(|block| block["type"] == "tool_use");
            open = calls.map(|call| &call["id"]).collect();
        }
        check_budget(body)?;
        self.check_marks(body)
    }

    fn check_marks(&self, body: &Value) -> Result<(), String> {
        if self.marks.len() > MARKS_MAX {
            return Err(format!(
                "A maximum of {MARKS_MAX} blocks with cache_control may be provided. Found {}.",
                self.marks.len()
            ));
        }
        let messages = list(&body["messages"]).iter();
        let blocks = messages.flat_map(|message| list(&message["content"]));
        let lifetimes = list(&body["system"]).iter().chain(blocks);
        let lifetimes = lifetimes.filter_map(|block| block.get("cache_control"));
        let hours = lifetimes.map(|mark| mark["ttl"] == "1h");
        if !hours.is_sorted_by(|before, after| before >= after) {
            return Err("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.".to_owned());
        }
        Ok(())
    }

    /// Signs the thoughts of an answer at the end of the sequence.
    fn signed(&mut self, blocks: Vec<Value>) -> Vec<Value> {
        let sign = |mut block: Value| {
            match block["type"].as_str() {
                Some("thinking") => block["signature"] = self.signature(&block).into(),
                Some("redacted_thinking") => block["data"] = self.signature(&block).into(),
                _ => {}
            }
            self.add("assistant", &block);
            block
        };
        blocks.into_iter().map(sign).collect()
    }
}

fn check_budget(body: &Value) -> Result<(), String> {
    let Some(budget) = body["thinking"]["budget_tokens"].as_u64() else {
        return Ok(());
    };
    if budget < 1_024 || body["max_tokens"].as_u64() <= Some(budget) {
        return Err("`max_tokens` must be greater than `thinking.budget_tokens`.".to_owned());
    }
    let messages = list(&body["messages"]);
    let is_input = |it: &Value| it["role"] == "user" && it["content"][0]["type"] != "tool_result";
    let turn = messages.iter().rposition(is_input).map_or(0, |at| at + 1);
    let first = messages.get(turn).map(|it| &it["content"][0]["type"]);
    match first.and_then(Value::as_str) {
        None | Some("thinking" | "redacted_thinking") => Ok(()),
        Some(found) => Err(format!(
            "Expected `thinking` or `redacted_thinking`, but found `{found}`. When `thinking` is enabled, a final \
             `assistant` message must start with a thinking block."
        )),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Streams an answer to a prompt of `prompt` blocks. The first `read` blocks come from the cache.
fn stream(blocks: Vec<Value>, prompt: usize, read: usize) -> Reply {
    let tokens = |blocks: usize| blocks as u64 * BLOCK_TOKENS;
    let usage = json!({
        "input_tokens": 0,
        "output_tokens": 1,
        "cache_read_input_tokens": tokens(read),
        "cache_creation_input_tokens": tokens(prompt.saturating_sub(read)),
    });
    let mut events = vec![json!({ "type": "message_start", "message": { "usage": usage } })];
    let has_calls = blocks.iter().any(|block| block["type"] == "tool_use");
    for (index, mut block) in blocks.into_iter().enumerate() {
        let kind = block["type"].as_str().unwrap_or("").to_owned();
        let parts: &[(&str, &str, &str)] = match kind.as_str() {
            "text" => &[("text", "text_delta", "text")],
            "thinking" => &[
                ("thinking", "thinking_delta", "thinking"),
                ("signature", "signature_delta", "signature"),
            ],
            "tool_use" => &[("input", "input_json_delta", "partial_json")],
            _ => &[],
        };
        let deltas = parts.iter().map(|(field, kind, part)| {
            let whole = block[*field].take();
            let text = whole.as_str().map_or_else(|| whole.to_string(), str::to_owned);
            let is_text = whole.is_string();
            block[*field] = if is_text { json!("") } else { json!({}) };
            json!({ "type": "content_block_delta", "index": index, "delta": { "type": kind, *part: text } })
        });
        let deltas: Vec<_> = deltas.collect();
        events
            .push(json!({ "type": "content_block_start", "index": index, "content_block": block }));
        events.extend(deltas);
        events.push(json!({ "type": "content_block_stop", "index": index }));
    }
    let stop = if has_calls { "tool_use" } else { "end_turn" };
    let output = json!({ "output_tokens": 10 });
    events.push(
        json!({ "type": "message_delta", "delta": { "stop_reason": stop }, "usage": output }),
    );
    events.push(json!({ "type": "message_stop" }));
    let events: Vec<_> = events.iter().map(Value::to_string).collect();
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    Reply::events(&events)
}
