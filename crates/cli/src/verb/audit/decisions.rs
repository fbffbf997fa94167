//! The newest decisions about requests, read from the history of events. Used by `top`.

use std::collections::{BTreeMap, VecDeque};

use agent_team_client::{Notice, Session, Subscription};
use agent_team_protocol::notification::EventNotice;
use agent_team_protocol::{MemberName, RequestId, Revision};

use super::entry::{self, Subject};
use crate::error::Failure;

/// Number of decisions to keep.
const KEPT: usize = 200;

/// One decision, with texts without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DecisionEntry {
    pub(crate) request: RequestId,
    pub(crate) member: Option<MemberName>,
    /// Unix time in milliseconds.
    pub(crate) at: u64,
    /// `allowed by user for team as Bash(cargo test:*)`
    pub(crate) decision: String,
    /// `bash: cargo test`
    pub(crate) call: String,
}

/// The newest decisions, and the revision up to which they were read.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    /// The last revision that was read.
    last: Revision,
    /// The calls of the undecided requests.
    subjects: BTreeMap<RequestId, Subject>,
    /// The newest first.
    pub(crate) newest: VecDeque<DecisionEntry>,
}

impl Decisions {
    /// Reads the events since the last call.
    pub(crate) async fn read_new(&mut self, session: Session) -> Result<(), Failure> {
        let mut events = Subscription::new(session, self.last, false).await?;
        while self.last < events.head() {
            if let Notice::Event(event) = events.next().await? {
                self.last = event.revision;
                self.on_event(&event);
            }
        }
        Ok(())
    }

    pub(super) fn on_event(&mut self, event: &EventNotice) {
        let Some(entry) = entry::entry(event, &mut self.subjects) else {
            return;
        };
        let (Some(request), "allowed" | "denied" | "withdrawn") = (entry.request, entry.what)
        else {
            return;
        };
        self.subjects.remove(&request);
        let reason = entry::reason_text(&entry).map(|reason| format!(" {reason}"));
        self.newest.push_front(DecisionEntry {
            request,
            member: entry.subject.as_ref().map(|subject| subject.member.clone()),
            at: entry.at,
            decision: entry::decision_text(&entry) + &reason.unwrap_or_default(),
            call: entry::call_text(&entry).unwrap_or_default(),
        });
        self.newest.truncate(KEPT);
    }
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::TeamId;
    use serde_json::json;

    use super::*;

    fn event(decisions: &mut Decisions, at: u64, kind: &str, data: &serde_json::Value) {
        decisions.on_event(&EventNotice {
            team: TeamId::from_directory_name("demo-01234567").unwrap(),
            revision: Revision(at),
            at,
            event: serde_json::from_value(json!({"kind": kind, "data": data})).unwrap(),
        });
    }

    #[test]
    fn decisions_are_bounded_and_newest_first() {
        let mut decisions = Decisions::default();
        let call = json!({"tool": "bash", "arguments": {"command": "ls\u{1b}[2J"}}).to_string();
        for number in 1..=300 {
            let request = format!("P-{number}");
            let asked = json!({"request": request, "member": "ada", "digest": "d", "call": call});
            event(&mut decisions, number, "request_asked", &asked);
            let allowed =
                json!({"request": request, "scope": "team", "by": "user", "rules": ["Bash(ls:*)"]});
            let denied = json!({"request": request, "by": "lea", "reason": "tests\nfirst"});
            match number % 2 {
                0 => event(&mut decisions, number, "request_allowed", &allowed),
                _ => event(&mut decisions, number, "request_denied", &denied),
            }
            // The start of the action is not a decision.
            event(
                &mut decisions,
                number,
                "request_begun",
                &json!({"request": request, "launch": "0".repeat(32)}),
            );
        }
        assert_eq!(decisions.newest.len(), KEPT);
        assert!(decisions.subjects.is_empty());
        let [allowed, denied] = [&decisions.newest[0], &decisions.newest[1]];
        assert_eq!((allowed.request, allowed.at), (RequestId(300), 300));
        assert_eq!(allowed.decision, "allowed by user for team as Bash(ls:*)");
        assert_eq!(allowed.call, "bash: ls\\e[2J");
        assert_eq!(denied.decision, "denied by lea (tests; first)");
    }
}
