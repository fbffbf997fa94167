//! OpenRouter's `reasoning_details`: the reasoning of any provider in one format, possibly signed or encrypted. Called by
//! `chat`.
//!
//! The next request must contain the entries unchanged and in order. The stream sends an entry in pieces with the same
//! index and type.

use serde_json::{Map, Value};

/// The texts of an entry, which arrive in pieces.
const TEXTS: [&str; 3] = ["text", "summary", "data"];

/// The entries so far.
#[derive(Debug, Default)]
pub(super) struct Entries(Vec<Map<String, Value>>);

impl Entries {
    /// Adds a piece. Ignores a value that is not an object.
    pub(super) fn push(&mut self, piece: Value) {
        let Value::Object(piece) = piece else { return };
        let continues = |last: &&mut Map<String, Value>| {
            last.get("index") == piece.get("index") && last.get("type") == piece.get("type")
        };
        let Some(entry) = self.0.last_mut().filter(continues) else {
            self.0.push(piece);
            return;
        };
        for (field, value) in piece {
            match (entry.get_mut(&field), value) {
                (_, Value::Null) => {}
                (Some(Value::String(text)), Value::String(more))
                    if TEXTS.contains(&field.as_str()) =>
                {
                    text.push_str(&more);
                }
                (_, value) => {
                    entry.insert(field, value);
                }
            }
        }
    }

    /// The complete entries, if there are any.
    pub(super) fn finish(self) -> Option<Vec<Value>> {
        let entries: Vec<_> = self.0.into_iter().map(Value::Object).collect();
        (!entries.is_empty()).then_some(entries)
    }
}

/// Whether the entry is valid only after the same messages: Anthropic rejects a signed thought after other messages.
/// The reasoning of other makers stays valid, and Gemini requires its signatures. `format` names the maker; without
/// `format`, the model's name does.
pub(super) fn binds(entry: &Value, model: &str) -> bool {
    match entry["format"].as_str() {
        Some(format) => format.starts_with("anthropic"),
        None => model.contains("claude"),
    }
}
