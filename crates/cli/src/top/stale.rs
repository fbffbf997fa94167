//! Records the data of the view that events have outdated. Used by [`super::state`]; pure.

use std::collections::BTreeSet;

use agent_team_protocol::TaskId;
use agent_team_protocol::event::ClientEvent;

/// Maximum number of tasks to read one by one. If more tasks are outdated, the whole board is read.
const SINGLE_TASKS: usize = 64;

/// The outdated data. By default nothing is outdated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stale {
    pub(super) team: bool,
    /// All tasks are outdated; otherwise only the tasks in `tasks`.
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

    /// Marks the data that an event outdates. `waiters` returns the tasks that depend on a task: an event about this
    /// task can unblock them, and no event reports that.
    pub(super) fn on_event(
        &mut self,
        event: &ClientEvent,
        waiters: impl Fn(TaskId) -> Vec<TaskId>,
    ) {
        use ClientEvent as E;

        // Any event can change the state, usage or unread messages of a member.
        self.team = true;
        if let Some(task) = event.task() {
            self.tasks.insert(task);
            self.tasks.extend(waiters(task));
        }
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the other events change only tasks and members"
        )]
        match event {
            E::TeamPlanned { .. } | E::Booted {} => self.board = true,
            E::RequestAsked { .. }
            | E::RequestAllowed { .. }
            | E::RequestDenied { .. }
            | E::RequestWithdrawn { .. }
            | E::RequestBegun { .. }
            | E::RequestEnded { .. }
            | E::GrantRevoked { .. }
            | E::GrantsEnded {} => self.requests = true,
            E::MessageAccepted { .. } | E::MessagesRead { .. } | E::UserRead { .. } => {
                self.messages = true;
            }
            E::Unknown => *self = Self::all(),
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
    use agent_team_protocol::RequestId;

    use super::*;

    fn stale(events: &[ClientEvent]) -> Stale {
        let mut stale = Stale::default();
        for event in events {
            stale.on_event(event, |task| vec![TaskId(task.0 + 100)]);
        }
        stale
    }

    fn retried(task: u64) -> ClientEvent {
        let task = TaskId(task);
        ClientEvent::TaskRetried { task }
    }

    #[test]
    fn an_event_outdates_only_its_subject() {
        let task = stale(&[retried(3)]);
        assert!(task.team && !task.board && !task.requests && !task.messages);
        assert!(task.tasks.iter().eq(&[TaskId(3), TaskId(103)]));
        let request = RequestId(1);
        assert!(
            stale(&[ClientEvent::RequestWithdrawn {
                request,
                allowed_in_agent: None
            }])
            .requests
        );
        let messages = Vec::new();
        assert!(stale(&[ClientEvent::UserRead { messages }]).messages);
        let member = "ada".parse().unwrap();
        let idle = stale(&[ClientEvent::MemberIdle { member }]);
        assert_eq!(
            idle,
            Stale {
                team: true,
                ..Stale::default()
            }
        );
        assert_eq!(stale(&[ClientEvent::Unknown]), Stale::all());
    }

    #[test]
    fn many_outdated_tasks_outdate_the_board() {
        let stale = stale(&(0..200).map(retried).collect::<Vec<_>>());
        assert!(stale.board && stale.tasks.is_empty());
    }
}
