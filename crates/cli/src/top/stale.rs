//! Which data of the view is outdated by events. Used by [`super::state`]; pure.

use std::collections::BTreeSet;

use agent_team_client::EventSubject;
use agent_team_protocol::TaskId;
use agent_team_protocol::notification::EventNotice;

/// If more tasks are outdated, the whole board is read.
const SINGLE_TASKS: usize = 64;

/// The outdated data. By default nothing is outdated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stale {
    pub(super) team: bool,
    /// All tasks; otherwise those of `tasks`.
    pub(super) board: bool,
    pub(super) tasks: BTreeSet<TaskId>,
    pub(super) requests: bool,
    pub(super) messages: bool,
}

impl Stale {
    pub(super) fn all() -> Self {
        Self {
            team: true,
            board: true,
            tasks: BTreeSet::new(),
            requests: true,
            messages: true,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Marks the data that an event outdates. `waiters` returns the tasks that depend on a task: an event about a task
    /// can unblock them without an event of their own.
    pub(super) fn on_event(
        &mut self,
        event: &EventNotice,
        waiters: impl Fn(TaskId) -> Vec<TaskId>,
    ) {
        let Some(subject) = EventSubject::of(event) else {
            *self = Self::all();
            return;
        };
        // Any event can change the state, usage or unread messages of a member.
        self.team = true;
        let (noun, _) = subject.kind.split_once('_').unwrap_or((&subject.kind, ""));
        match (noun, subject.data.task) {
            ("task", Some(task)) => {
                self.tasks.insert(task);
                self.tasks.extend(waiters(task));
            }
            ("task" | "team" | "booted", _) => self.board = true,
            ("request" | "grant", _) => self.requests = true,
            ("message" | "messages", _) => self.messages = true,
            _ => {}
        }
        if self.board || self.tasks.len() > SINGLE_TASKS {
            self.board = true;
            self.tasks.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::to_raw_value};

    use super::*;

    fn stale(events: &[serde_json::Value]) -> Stale {
        let mut stale = Stale::default();
        for event in events {
            let notice = EventNotice {
                team: agent_team_protocol::TeamId::from_directory_name("demo-01234567").unwrap(),
                revision: agent_team_protocol::Revision(1),
                at: 0,
                event: to_raw_value(event).unwrap(),
            };
            stale.on_event(&notice, |task| vec![TaskId(task.0 + 100)]);
        }
        stale
    }

    #[test]
    fn an_event_outdates_only_its_subject() {
        let event = |kind: &str, data| json!({"kind": kind, "data": data});
        let task = stale(&[event("task_completed", json!({"task": "T-3"}))]);
        assert!(task.team && !task.board && !task.requests && !task.messages);
        assert!(task.tasks.iter().eq(&[TaskId(3), TaskId(103)]));
        assert!(stale(&[event("request_asked", json!({}))]).requests);
        assert!(stale(&[event("messages_read", json!({}))]).messages);
        let idle = stale(&[event("member_idle", json!({"member": "ada"}))]);
        assert_eq!(
            idle,
            Stale {
                team: true,
                ..Stale::default()
            }
        );
        assert_eq!(stale(&[json!("?")]), Stale::all());
    }

    #[test]
    fn many_outdated_tasks_outdate_the_board() {
        let events = (0..200)
            .map(|task| json!({"kind": "task_added", "data": {"task": format!("T-{task}")}}));
        let stale = stale(&events.collect::<Vec<_>>());
        assert!(stale.board && stale.tasks.is_empty());
    }
}
