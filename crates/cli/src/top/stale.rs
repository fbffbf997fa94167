//! What of the screen is out of date, as events tell. Used by [`super::state`]; pure.

use std::collections::BTreeSet;

use agent_team_protocol::TaskId;
use agent_team_protocol::notification::EventNotice;
use serde::Deserialize;

/// From so many tasks on the whole board is asked for at once.
const SINGLE_TASKS: usize = 64;

/// See the module. Empty: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stale {
    pub(super) team: bool,
    /// All tasks, or only those below.
    pub(super) board: bool,
    pub(super) tasks: BTreeSet<TaskId>,
    pub(super) requests: bool,
    pub(super) messages: bool,
}

/// The part of an event that says what it is about.
#[derive(Deserialize)]
struct Fact {
    kind: String,
    #[serde(default)]
    data: About,
}

#[derive(Default, Deserialize)]
struct About {
    #[serde(default)]
    task: Option<TaskId>,
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

    /// `waiters`: who waits for a task.
    pub(super) fn event(&mut self, event: &EventNotice, waiters: impl Fn(TaskId) -> Vec<TaskId>) {
        let Ok(fact) = serde_json::from_str::<Fact>(event.event.get()) else {
            *self = Self::all();
            return;
        };
        // Whatever happens, somebody's state, usage or unread messages may follow from it.
        self.team = true;
        let (about, _) = fact.kind.split_once('_').unwrap_or((&fact.kind, ""));
        match (about, fact.data.task) {
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
            stale.event(&notice, |task| vec![TaskId(task.0 + 100)]);
        }
        stale
    }

    #[test]
    fn an_event_makes_stale_what_it_is_about_and_no_more() {
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
    fn many_tasks_are_the_board() {
        let events = (0..200)
            .map(|task| json!({"kind": "task_added", "data": {"task": format!("T-{task}")}}));
        let stale = stale(&events.collect::<Vec<_>>());
        assert!(stale.board && stale.tasks.is_empty());
    }
}
