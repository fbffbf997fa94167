//! Derives the steps of an agent's turn from the items of the agent's transcript. The steps are requests to the model
//! and tool calls. Pure. Called by the parent module.
//!
//! Items have no times. The event that stores an item has a time. A request to the model begins when the item before
//! its answer is stored, and ends when the answer is stored. A tool call begins when the answer that contains it is
//! stored, and ends when its result is stored.

use std::collections::BTreeMap;

use agent_team_client::spans::Span;
use agent_team_protocol::value::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A request to the model.
#[derive(Debug, PartialEq)]
pub(super) struct ModelRequest {
    /// The number of the answer in the transcript.
    pub(super) item: u64,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) usage: Usage,
    /// Why the answer ended, as the transcript stores it: `finished`, `calls`. Empty if unknown.
    pub(super) stop: String,
}

/// A tool call.
#[derive(Debug, PartialEq)]
pub(super) struct ToolCall {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) has_failed: bool,
}

/// The steps of one turn.
#[derive(Debug, Default)]
pub(super) struct TurnSteps {
    pub(super) requests: Vec<ModelRequest>,
    pub(super) calls: Vec<ToolCall>,
}

/// The parts of an item that are exported. Only items of the engine `native` have this form; items of other engines
/// contain no steps.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Item {
    Answered {
        #[serde(default)]
        calls: Vec<Call>,
        #[serde(default)]
        stop: Option<String>,
        #[serde(default)]
        usage: Tokens,
    },
    Returned {
        results: Vec<CallResult>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Call {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct CallResult {
    id: String,
    #[serde(default)]
    failed: bool,
}

#[derive(Default, Deserialize)]
struct Tokens {
    #[serde(default)]
    input: u64,
    #[serde(default)]
    output: u64,
    #[serde(default, rename = "cache_read")]
    cached: u64,
}

/// Collects the steps of a turn.
pub(super) struct Steps<'a> {
    span: &'a Span,
    /// The number of the next item.
    next: u64,
    /// For each event that stored items: the length of the transcript after the event, and the time of the event.
    stored: &'a [(u64, u64)],
    before: u64,
    /// The calls without a result: name and start.
    open: BTreeMap<String, (String, u64)>,
    steps: TurnSteps,
}

impl<'a> Steps<'a> {
    pub(super) fn new(span: &'a Span, first: u64, stored: &'a [(u64, u64)]) -> Self {
        Self {
            span,
            next: first,
            stored,
            before: span.from,
            open: BTreeMap::new(),
            steps: TurnSteps::default(),
        }
    }

    /// Adds the items before number `end`; later items belong to the next turn.
    pub(super) fn add(&mut self, items: &[Box<RawValue>], end: u64) {
        for item in items {
            if self.next >= end {
                return;
            }
            let at = self.stored_at(self.next);
            self.item(serde_json::from_str(item.get()).unwrap_or(Item::Other), at);
            self.before = at;
            self.next += 1;
        }
    }

    /// The time at which an item was stored, within the span.
    fn stored_at(&self, item: u64) -> u64 {
        let found = self.stored.iter().find(|(length, _)| item < *length);
        let last = self.span.to.unwrap_or(self.before);
        found
            .map_or(last, |(_, at)| *at)
            .clamp(self.before, last.max(self.before))
    }

    fn item(&mut self, item: Item, at: u64) {
        match item {
            Item::Answered { calls, stop, usage } => {
                self.steps.requests.push(ModelRequest {
                    item: self.next,
                    from: self.before,
                    to: at,
                    usage: Usage {
                        input: usage.input,
                        output: usage.output,
                        cached: usage.cached,
                        ..Usage::default()
                    },
                    stop: stop.unwrap_or_default(),
                });
                for call in calls {
                    self.open.insert(call.id, (call.name, at));
                }
            }
            Item::Returned { results } => {
                for CallResult { id, failed } in results {
                    if let Some((name, from)) = self.open.remove(&id) {
                        self.steps.calls.push(ToolCall {
                            id,
                            name,
                            from,
                            to: at,
                            has_failed: failed,
                        });
                    }
                }
            }
            Item::Other => {}
        }
    }

    /// The steps. Calls without a result end with the turn.
    pub(super) fn finish(mut self) -> TurnSteps {
        let end = self.span.to.unwrap_or(self.before);
        let open = std::mem::take(&mut self.open);
        self.steps
            .calls
            .extend(open.into_iter().map(|(id, (name, from))| ToolCall {
                id,
                name,
                from,
                to: end.max(from),
                has_failed: true,
            }));
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use agent_team_client::spans::Spans;
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_end_when_their_items_are_stored() {
        let mut spans = Spans::default();
        let mut stored = Vec::new();
        let mut ended = Vec::new();
        for (revision, (length, at, active)) in [
            (1, 100, true),
            (2, 150, true),
            (3, 170, true),
            (5, 190, false),
        ]
        .into_iter()
        .enumerate()
        {
            let size = json!({"length": length, "active": active});
            let event =
                json!({"kind": "transcript_grown", "data": {"member": "ada", "mind": size}});
            let notice = json!({"team": "demo-12345678", "revision": revision + 1, "at": at, "event": event});
            ended.extend(spans.add(&serde_json::from_value(notice).unwrap()));
            stored.push((length, at));
        }
        let turn = spans.take_ended().expect("a turn");
        let items = json!([
            {"kind": "said", "text": "Fix"},
            {"kind": "answered", "text": "", "stop": "calls", "usage": {"input": 9, "output": 2},
                "calls": [{"id": "c1", "name": "bash", "input": "{}"}, {"id": "c2", "name": "read", "input": "{}"}]},
            {"kind": "returned", "results": [{"id": "c1", "text": "no", "failed": true}]},
            {"kind": "answered", "text": "Done.", "stop": "finished", "usage": {"output": 1}},
            {"kind": "rested"},
            {"kind": "said", "text": "the next turn"},
        ]);
        let items: Vec<Box<RawValue>> = serde_json::from_value(items).unwrap();
        let mut steps = Steps::new(&turn, 0, &stored);
        steps.add(&items, 5);
        let steps = steps.finish();
        let times: Vec<_> = steps
            .requests
            .iter()
            .map(|it| (it.item, it.from, it.to))
            .collect();
        assert_eq!(times, [(1, 100, 150), (3, 170, 190)]);
        assert_eq!(steps.requests[0].usage.input, 9);
        let calls: Vec<_> = steps
            .calls
            .iter()
            .map(|it| (it.name.as_str(), it.from, it.to))
            .collect();
        assert_eq!(calls, [("bash", 150, 170), ("read", 150, 190)]);
        assert!(steps.calls[0].has_failed);
    }
}
