//! A simple model of a team: the owner of each task, unread messages, and the restarts of each member.
//!
//! The model receives the journal's records one by one, with the team before each record, and rejects a record that
//! breaks a rule. It uses the core's types and queries, but none of its decisions.

use std::collections::{BTreeMap, BTreeSet};

use agent_team_core::member::{AfterLaunch, Life, Next};
use agent_team_core::{Event, Record, Team};
use agent_team_protocol::id::{MemberName, MessageId, Party, TaskId};

use crate::recount;

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) owners: BTreeMap<TaskId, Party>,
    pub(crate) completed: BTreeSet<TaskId>,
    /// The highest task number.
    pub(crate) tasks: u64,
    added: BTreeSet<TaskId>,
    generations: BTreeMap<TaskId, u64>,
    /// Tasks that a member has started since their last retry or change.
    started: BTreeSet<TaskId>,
    messages: u64,
    pub(crate) unread: BTreeMap<MemberName, Vec<Mail>>,
    /// When each member's restarts after a crash were granted, since its start was last requested.
    restarts: BTreeMap<MemberName, Vec<u64>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) id: MessageId,
    /// 0 is the highest priority.
    pub(crate) lane: u8,
}

/// Facts about the input that led to a record.
pub(crate) struct Facts<'a> {
    /// Members with a process that may still run.
    pub(crate) may_run: &'a BTreeSet<MemberName>,
    /// The task that the call claims by its id, fails or releases.
    pub(crate) named: Option<TaskId>,
    /// The input is a call and not a report.
    pub(crate) is_called: bool,
    /// Members that this input has launched so far.
    pub(crate) launched: BTreeSet<MemberName>,
}

impl Model {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most events change nothing that is modelled"
    )]
    pub(crate) fn apply(&mut self, record: &Record, before: &Team, facts: &mut Facts<'_>) {
        match &record.event {
            Event::TaskAdded { task, .. } => {
                assert!(self.added.insert(*task), "{task} was added before");
                self.tasks = self.tasks.max(task.0);
            }
            Event::TaskClaimed {
                task,
                owner,
                generation,
                attempts,
            } => {
                let on_board = before
                    .board()
                    .get(*task)
                    .expect("a claimed task is on the board");
                assert_eq!(*attempts, on_board.attempts + 1);
                if let Party::Member(_) = owner {
                    let is_first = self.started.insert(*task);
                    assert!(
                        is_first || on_board.spec.rerun,
                        "{task} starts again without a retry"
                    );
                }
                self.claim(*task, owner, generation.0, before, facts);
            }
            Event::TaskReleased { task, .. } | Event::TaskFailed { task, .. } => {
                let owner = self.owners.remove(task).expect("only a claim is given up");
                let may_work =
                    matches!(&owner, Party::Member(name) if facts.may_run.contains(name));
                assert!(
                    facts.named == Some(*task) || !may_work,
                    "{task} is given up while {owner} may still work on it"
                );
            }
            Event::TaskCancelled { task } => drop(self.owners.remove(task)),
            Event::TaskRetried { task } => drop(self.started.remove(task)),
            // If the task had `rerun` before this change, its earlier starts do not count.
            Event::TaskChanged { task, .. } => {
                let was = before.board().get(*task).map(|task| task.spec.rerun);
                if was == Some(true) {
                    self.started.remove(task);
                }
            }
            Event::TaskCompleted { task, .. } => {
                assert!(
                    self.owners.remove(task).is_some(),
                    "{task} is completed without an owner"
                );
                assert!(self.completed.insert(*task), "{task} completes twice");
            }
            Event::MessageAccepted {
                message,
                from,
                to,
                urgent,
                ..
            } => {
                self.accept(*message, lane(before, from, *urgent), to);
            }
            Event::MessagesRead { member, messages } => {
                let unread = self.unread.entry(member.clone()).or_default();
                unread.retain(|mail| !messages.contains(&mail.id));
            }
            Event::MemberRemoved { member } => {
                self.unread.remove(member);
                self.restarts.remove(member);
            }
            Event::MemberWanted { member } => drop(self.restarts.remove(member)),
            Event::Booted { .. } => self.restarts.clear(),
            Event::LaunchStarted { member, .. } => {
                assert!(
                    !facts.may_run.contains(member),
                    "{member} starts while its old processes live"
                );
                let allowed = self.restarts.get(member).and_then(|at| at.last()).copied();
                assert!(
                    allowed.is_none_or(|at| at <= record.tick.0),
                    "{member} starts before its restart is due"
                );
                // A lowered limit applies to the following starts.
                let is_foreign = before.member(member).expect("a member").spec.foreign;
                let limit = before.spec().starting as usize;
                assert!(
                    !is_foreign || recount::starting(before) < limit,
                    "{member} starts while too many others are starting"
                );
                facts.launched.insert(member.clone());
            }
            Event::LaunchDraining { member, then, .. }
            | Event::LaunchEnding { member, then, .. } => {
                let decided = then_of(&before.member(member).expect("a member").life);
                let is_final = matches!(
                    decided,
                    Some(AfterLaunch::Stop | AfterLaunch::Remove | AfterLaunch::Hold { .. })
                );
                let changes = decided.is_some_and(|decided| decided != then);
                assert!(
                    !is_final || !changes || facts.is_called,
                    "{member}: {decided:?} changed to {then:?} without a request"
                );
            }
            Event::LaunchEnded { member, next, .. } => {
                assert!(
                    !facts.may_run.contains(member),
                    "{member} ends while its processes live"
                );
                let life = &before.member(member).expect("a member").life;
                if let Some(AfterLaunch::Recover { .. }) = then_of(life) {
                    self.count_death(member, record.tick.0, next);
                }
            }
            _ => {}
        }
    }

    fn claim(
        &mut self,
        task: TaskId,
        owner: &Party,
        generation: u64,
        before: &Team,
        facts: &Facts<'_>,
    ) {
        let last = self.generations.insert(task, generation).unwrap_or(0);
        assert_eq!(
            generation,
            last + 1,
            "a claim of {task} does not have the next generation"
        );
        let previous = self.owners.insert(task, owner.clone());
        if let Party::Member(name) = owner
            && facts.launched.contains(name)
        {
            assert_eq!(
                previous.as_ref(),
                Some(owner),
                "a launch takes over {task}, which {name} did not own"
            );
            return;
        }
        assert_eq!(previous, None, "{task} is claimed while it has an owner");
        let on_board = before
            .board()
            .get(task)
            .expect("a claimed task is on the board");
        assert_eq!(
            recount::open(before, on_board),
            0,
            "{task} is claimed while it is blocked"
        );
        if let Party::Member(name) = owner {
            let member = before.member(name).expect("an owner is a member");
            assert!(
                matches!(member.life, Life::Ready { .. }),
                "{name} takes a task and is {:?}",
                member.life
            );
            if facts.named != Some(task) {
                assert_eq!(
                    recount::best_for(before, member),
                    Some(task),
                    "{name} claims a task that is not its best"
                );
            }
        }
    }

    fn accept(&mut self, message: MessageId, lane: u8, to: &[Party]) {
        self.messages += 1;
        assert_eq!(
            message.0, self.messages,
            "a message does not have the next number"
        );
        for party in to {
            if let Party::Member(name) = party {
                let unread = self.unread.entry(name.clone()).or_default();
                unread.push(Mail { id: message, lane });
            }
        }
    }

    fn count_death(&mut self, member: &MemberName, now: u64, next: &Next) {
        let restarts = self.restarts.entry(member.clone()).or_default();
        let at = match next {
            Next::Launch => now,
            Next::Cool { restart_at } => restart_at.0,
            Next::Hold { .. } => {
                let recent = restarts.iter().filter(|at| now < **at + 60_000).count();
                return assert_eq!(
                    recent, 5,
                    "{member} is held, but not at the sixth death within a minute"
                );
            }
            Next::Stop => panic!("{member} died, which must not stop it"),
        };
        restarts.push(at);
        let within = restarts
            .iter()
            .filter(|before| at < **before + 60_000)
            .count();
        assert!(
            within <= 5,
            "{member} is started {within} times within a minute"
        );
    }
}

fn then_of(life: &Life) -> Option<&AfterLaunch> {
    if let Life::Draining { then, .. } | Life::Ending { then, .. } = life {
        Some(then)
    } else {
        None
    }
}

fn lane(team: &Team, from: &Party, urgent: bool) -> u8 {
    let is_peer =
        matches!(from, Party::Member(name) if team.member(name).is_none_or(|it| !it.spec.lead));
    if urgent { 0 } else { 1 + u8::from(is_peer) }
}
