//! Collects the denied calls of a team from its events: calls that were denied without a request, and calls whose
//! request was denied. The command line and the library report them with the result of a run. Does no I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_team_protocol::RequestId;
use agent_team_protocol::event::ClientEvent;
use serde_json::Value;

/// The denied calls among the events so far.
#[derive(Debug, Default)]
pub struct DeniedCalls {
    /// The call of each pending request, in the form of its event.
    asked: BTreeMap<RequestId, Arc<str>>,
    /// The denied calls, in the order of the denials.
    denied: Vec<Arc<str>>,
}

impl DeniedCalls {
    /// Adds an event. The caller must pass every event, in order. The call of a request that is older than the first
    /// event is not listed.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other events deny nothing"
    )]
    pub fn on_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::CallDenied { call, .. } => self.denied.push(call),
            ClientEvent::RequestAsked { request, call, .. } => {
                self.asked.insert(request, call);
            }
            ClientEvent::RequestDenied { request, .. } => {
                self.denied.extend(self.asked.remove(&request));
            }
            ClientEvent::RequestAllowed { request, .. }
            | ClientEvent::RequestWithdrawn { request, .. } => {
                self.asked.remove(&request);
            }
            _ => {}
        }
    }

    /// Returns a line for each denied call. `line` makes a line from the name of the tool and its arguments.
    pub fn lines(&self, line: impl Fn(&str, &Value) -> String) -> Vec<String> {
        let of_call = |call: &Arc<str>| {
            let call: Value = serde_json::from_str(call).unwrap_or_default();
            line(call["tool"].as_str().unwrap_or("?"), &call["arguments"])
        };
        self.denied.iter().map(of_call).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_denied_by_rules_and_decisions_are_listed() {
        let call = |path: &str| json!({ "tool": "write", "arguments": { "path": path } });
        let asked = |request: &str| {
            let call = call(request).to_string();
            json!({ "kind": "request_asked", "data":
                { "request": request, "member": "ada", "digest": "d", "call": call } })
        };
        let by_rule = json!({ "kind": "call_denied", "data":
            { "member": "ada", "digest": "d", "call": call("rule").to_string(), "why": "" } });
        let denied = |request: &str| {
            json!({ "kind": "request_denied", "data":
                { "request": request, "by": "user", "reason": "" } })
        };
        let mut calls = DeniedCalls::default();
        for event in [
            denied("P-1"),
            asked("P-2"),
            asked("P-3"),
            asked("P-4"),
            by_rule,
            json!({ "kind": "request_withdrawn", "data": { "request": "P-3" } }),
            denied("P-3"),
            denied("P-2"),
        ] {
            calls.on_event(serde_json::from_value(event).unwrap());
        }
        let lines = calls.lines(|tool, arguments| format!("{tool} {}", arguments["path"]));
        assert_eq!(lines, ["write \"rule\"", "write \"P-2\""]);
    }
}
