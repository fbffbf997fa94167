//! The calls that an agent has announced and not ended. Called by the session over the Agent Client Protocol.
//!
//! A permission question may contain nothing but the id of its call and the fields that have changed since the
//! announcement of the call. For example, Kimi Code 2.1.0 asks about `Bash` without the shell line. The missing fields
//! come from the announcement, so that the rules and the user judge the call that is made.

use std::collections::HashMap;

use super::wire::ToolCall;

/// The largest number of calls that are kept. An agent that never ends its calls must not fill the memory.
const CALLS_MAX: usize = 256;

/// The largest number of bytes that are kept of the inputs of all these calls.
const INPUTS_MAX: usize = 16 << 20;

#[derive(Default)]
pub(super) struct Announced {
    /// The calls, and the size of each.
    calls: HashMap<String, (ToolCall, usize)>,
    bytes: usize,
}

impl Announced {
    /// Keeps the fields that an update contains about its call.
    pub(super) fn follow(&mut self, update: &ToolCall) {
        let earlier = self.calls.remove(&update.tool_call_id);
        self.bytes -= earlier.as_ref().map_or(0, |(_, size)| *size);
        let ended = ["completed", "failed"].map(Some);
        if ended.contains(&update.status.as_deref()) {
            return;
        }
        let mut call = ToolCall {
            tool_call_id: update.tool_call_id.clone(),
            ..ToolCall::default()
        };
        fill(&mut call, update);
        if let Some((earlier, _)) = &earlier {
            fill(&mut call, earlier);
        }
        let size = size(&call);
        if self.calls.len() < CALLS_MAX && self.bytes + size <= INPUTS_MAX {
            self.bytes += size;
            self.calls.insert(call.tool_call_id.clone(), (call, size));
        }
    }

    /// Adds the fields that a question omits.
    pub(super) fn complete(&self, asked: &mut ToolCall) {
        if let Some((announced, _)) = self.calls.get(&asked.tool_call_id) {
            fill(asked, announced);
        }
    }
}

/// Adds the missing fields of a later message from an earlier one.
fn fill(call: &mut ToolCall, earlier: &ToolCall) {
    let later = std::mem::take(call);
    *call = ToolCall {
        title: later.title.or_else(|| earlier.title.clone()),
        kind: later.kind.or_else(|| earlier.kind.clone()),
        locations: later.locations.or_else(|| earlier.locations.clone()),
        raw_input: later.raw_input.or_else(|| earlier.raw_input.clone()),
        ..later
    };
}

fn size(call: &ToolCall) -> usize {
    let input = call.raw_input.as_ref();
    let title = call.title.as_ref().map_or(0, String::len);
    call.tool_call_id.len() + title + input.map_or(0, |input| input.to_string().len())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn call(value: Value) -> ToolCall {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_question_is_completed_with_its_announcement() {
        let mut announced = Announced::default();
        announced.follow(&call(
            json!({ "toolCallId": "1", "title": "Bash", "kind": "execute" }),
        ));
        announced.follow(&call(
            json!({ "toolCallId": "1", "rawInput": { "command": "ls" } }),
        ));
        let question = || call(json!({ "toolCallId": "1", "title": "Run" }));
        let mut asked = question();
        announced.complete(&mut asked);
        assert_eq!(asked.title.as_deref(), Some("Run"));
        assert_eq!(asked.kind.as_deref(), Some("execute"));
        assert_eq!(asked.raw_input, Some(json!({ "command": "ls" })));
        announced.follow(&call(json!({ "toolCallId": "1", "status": "completed" })));
        let mut asked = question();
        announced.complete(&mut asked);
        assert_eq!(asked.raw_input, None);
        assert_eq!(announced.bytes, 0);
    }

    #[test]
    fn announced_calls_have_a_limit() {
        let mut announced = Announced::default();
        let long = "x".repeat(INPUTS_MAX + 1);
        announced.follow(&call(json!({ "toolCallId": "long", "title": long })));
        for id in 0..=CALLS_MAX {
            announced.follow(&call(json!({ "toolCallId": id.to_string() })));
        }
        assert_eq!(announced.calls.len(), CALLS_MAX);
        assert!(!announced.calls.contains_key("long"));
    }
}
