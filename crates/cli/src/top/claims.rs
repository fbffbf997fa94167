//! The history of each task's claims, collected from the events of the team. The event loop calls [`History::read_new`]
//! while the page of a task is open; each call continues where the last one ended.

use std::collections::BTreeMap;

use agent_team_client::{Notice, Session, Subscription};
use agent_team_protocol::event::ClientEvent;
use agent_team_protocol::{Revision, TaskId};

use crate::error::Failure;
use crate::output::text;

/// Number of newest entries to keep for a task.
const KEPT: usize = 50;

/// An event in the history of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimEntry {
    /// Unix time in milliseconds.
    pub(super) at: u64,
    /// Without control characters: `claimed by ada, attempt 2`.
    pub(super) what: String,
}

#[derive(Debug, Default)]
pub(super) struct History {
    /// The last revision that was read.
    last: Revision,
    /// Oldest first.
    tasks: BTreeMap<TaskId, Vec<ClaimEntry>>,
}

impl History {
    /// Reads the events since the last call.
    pub(super) async fn read_new(&mut self, session: Session) -> Result<(), Failure> {
        let mut events = Subscription::new(session, self.last, false).await?;
        while self.last < events.head() {
            if let Notice::Event(event) = events.next().await? {
                self.last = event.revision;
                self.on_event(&event.event, event.at);
            }
        }
        Ok(())
    }

    /// The history of a task, oldest first.
    pub(super) fn of(&self, task: TaskId) -> Vec<ClaimEntry> {
        self.tasks.get(&task).cloned().unwrap_or_default()
    }

    fn on_event(&mut self, event: &ClientEvent, at: u64) {
        let (Some(task), Some(what)) = (event.task(), what(event)) else {
            return;
        };
        let entries = self.tasks.entry(task).or_default();
        entries.push(ClaimEntry { at, what });
        let excess = entries.len().saturating_sub(KEPT);
        entries.drain(..excess);
    }
}

/// `None`: the event is not part of the history.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other events are not part of the history"
)]
fn what(event: &ClientEvent) -> Option<String> {
    use ClientEvent as E;

    let because = |what: &str, why: &str| match text::first_line(why).as_str() {
        "" => what.to_owned(),
        why => format!("{what}: {why}"),
    };
    Some(match event {
        E::TaskAdded { created_by, .. } => format!("added by {created_by}"),
        E::TaskClaimed {
            owner, attempts, ..
        } if *attempts > 1 => format!("claimed by {owner}, attempt {attempts}"),
        E::TaskClaimed { owner, .. } => format!("claimed by {owner}"),
        E::TaskReleased { note, .. } => because("released", note),
        E::TaskRefused { reason, .. } => because("completion refused", reason),
        E::TaskCompleted { unverified, .. } if *unverified => "completed, not verified".to_owned(),
        E::TaskCompleted { .. } => "completed".to_owned(),
        E::TaskFailed { reason, .. } => because("failed", reason),
        E::TaskCancelled { .. } => "cancelled".to_owned(),
        E::TaskRetried { .. } => "retried".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::{Generation, Party};

    use super::*;

    #[test]
    fn claims_of_a_task_are_listed_in_order() {
        let (task, mut history) = (TaskId(3), History::default());
        let claimed = |attempts| ClientEvent::TaskClaimed {
            task,
            owner: Party::Member("ada".parse().unwrap()),
            generation: Generation(1),
            attempts,
        };
        let failed = ClientEvent::TaskFailed {
            task,
            reason: "exit 1\u{1b}[2J\nmore".into(),
        };
        let events = [
            claimed(1),
            failed,
            ClientEvent::TaskRetried { task },
            claimed(2),
        ];
        for (at, event) in (1..).zip(&events) {
            history.on_event(event, at);
        }
        let other = TaskId(4);
        history.on_event(&ClientEvent::TaskCancelled { task: other }, 9);
        let entries: Vec<_> = history.of(task).into_iter().map(|it| it.what).collect();
        let expected = [
            "claimed by ada",
            "failed: exit 1\\e[2J (+1 line)",
            "retried",
            "claimed by ada, attempt 2",
        ];
        assert_eq!(entries, expected);
        for at in 0..200 {
            history.on_event(&claimed(3), at);
        }
        assert_eq!(history.of(task).len(), KEPT);
    }
}
