//! Events that occur in snapshots only: state as it was. See `snapshot`.

use crate::team::Team;
use crate::team::event::{Event, Record};
use crate::team::task::Task;

impl Team {
    /// State that a snapshot contains.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "`apply_event` passes only events of this family"
    )]
    pub(super) fn apply_kept(&mut self, record: &Record) {
        match &record.event {
            Event::Counted {
                revision,
                tasks,
                messages,
                completed,
                spawned,
                requests,
            } => {
                self.revision = *revision;
                self.requests.last = *requests;
                self.board.last = *tasks;
                self.board.completed = *completed;
                self.last_message = *messages;
                self.spawned = spawned.iter().cloned().collect();
            }
            Event::KeyCompleted { key, task, digest } => {
                self.board.remember_key(key.clone(), *task, *digest)
            }
            Event::TasksKept { tasks } => {
                for task in tasks {
                    self.board.insert(Task::clone(task));
                }
            }
            Event::TaskKept {
                task,
                generation,
                attempts,
                refusals,
                outcome,
                created_at,
                changed_at,
                revision,
            } => {
                self.board.change(*task, |task| {
                    task.generation = *generation;
                    task.attempts = *attempts;
                    task.refusals = *refusals;
                    task.outcome = outcome.clone();
                    task.created_at = *created_at;
                    task.changed_at = *changed_at;
                    task.revision = *revision;
                });
            }
            Event::MemberKept {
                member,
                restarts,
                last_result,
                since,
                told_idle,
                worked,
                objection,
                suspended,
            } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.restarts = restarts.clone();
                    member.last_result = last_result.clone();
                    member.since = *since;
                    member.idle_notified = *told_idle;
                    member.worked = *worked;
                    member.objection.clone_from(objection);
                    member.suspended = *suspended;
                }
            }
            Event::AccountKept { member, account } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.account = *account;
                }
            }
            Event::LockKept { member, lock } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.lock = *lock;
                }
            }
            Event::TeamAccountKept { account, spent } => {
                self.account = *account;
                self.spent = *spent;
            }
            Event::MessageKept { message, lane } => {
                for member in self.members.values_mut() {
                    if let Some(unread) = member.inbox.remove(*message) {
                        member.inbox.insert(*message, *lane, unread);
                    }
                }
            }
            Event::CallAnswered { call } => self.remember(record.tick, call.clone()),
            Event::RequestKept { request } => self.requests.insert(request.clone()),
            Event::GrantKept { grant } => self.requests.keep_grant(grant.clone()),
            Event::UserMailKept { unread } => {
                for (message, from) in unread {
                    self.user_mail.receive(*message, from.clone());
                }
            }
            other => debug_assert!(false, "no effect on the state: {other:?}"),
        }
    }
}
