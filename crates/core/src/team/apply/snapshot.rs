//! Events that occur in snapshots only; each contains a part of the state. See `snapshot`.

use crate::team::Team;
use crate::team::event::{KeptEvent, Record};
use crate::team::task::Task;

impl Team {
    pub(super) fn apply_kept(&mut self, event: KeptEvent<'_>, record: &Record) {
        match event {
            KeptEvent::Counted {
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
            KeptEvent::KeyCompleted { key, task, digest } => {
                self.board.remember_key(key.clone(), *task, *digest)
            }
            KeptEvent::TasksKept { tasks } => {
                for task in tasks {
                    self.board.insert(Task::clone(task));
                }
            }
            KeptEvent::TaskKept {
                task,
                generation,
                attempts,
                refusals,
                state,
                created_at,
                changed_at,
                revision,
            } => {
                self.board.change(*task, |task| {
                    task.generation = *generation;
                    task.attempts = *attempts;
                    task.refusals = *refusals;
                    task.state = state.clone();
                    task.created_at = *created_at;
                    task.changed_at = *changed_at;
                    task.revision = *revision;
                });
            }
            KeptEvent::MemberKept {
                member,
                restarts,
                last_result,
                since,
                life_since,
                idle_notified,
                worked,
                objection,
                suspended,
                turn_failure,
                last_end,
            } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.restarts = restarts.clone();
                    member.last_result = last_result.clone();
                    member.since = *since;
                    member.life_since = life_since.unwrap_or(*since);
                    member.idle_notified = *idle_notified;
                    member.worked = *worked;
                    member.objection.clone_from(objection);
                    member.suspended = *suspended;
                    member.turn_failure.clone_from(turn_failure);
                    member.last_end.clone_from(last_end);
                }
            }
            KeptEvent::AccountKept { member, account } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.account = *account;
                }
            }
            KeptEvent::LockKept { member, lock } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.lock = *lock;
                }
            }
            KeptEvent::TeamAccountKept { account, spent } => {
                self.account = *account;
                self.spent = *spent;
            }
            KeptEvent::MessageKept { message, lane } => {
                for member in self.members.values_mut() {
                    if let Some(unread) = member.inbox.remove(*message) {
                        member.inbox.insert(*message, *lane, unread);
                    }
                }
            }
            KeptEvent::CallAnswered { call } => self.remember(record.tick, call.clone()),
            KeptEvent::RequestKept { request } => self.requests.insert(request.clone()),
            KeptEvent::GrantKept { grant } => self.requests.keep_grant(grant.clone()),
            KeptEvent::UserMailKept { unread, questions } => {
                for (message, from) in unread {
                    self.user_mail.receive(*message, from.clone());
                }
                for question in questions {
                    self.user_mail.ask(question.clone());
                }
            }
        }
    }
}
