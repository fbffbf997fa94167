//! What a team has to be, in the simplest words: who owns what, what nobody has read, who was started again when.
//!
//! It is fed the journal's records one by one, with the team as it was before each, and objects to those that must
//! not be. It shares no code with the core.

use std::collections::{BTreeMap, BTreeSet};

use agent_team_core::member::{Life, Next, Then};
use agent_team_core::{Event, Record, Team};
use agent_team_protocol::id::{MemberName, MessageId, Party, TaskId};

use crate::recount;

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) owners: BTreeMap<TaskId, Party>,
    pub(crate) completed: BTreeSet<TaskId>,
    /// The highest number of a task.
    pub(crate) tasks: u64,
    given: BTreeSet<TaskId>,
    generations: BTreeMap<TaskId, u64>,
    messages: u64,
    pub(crate) unread: BTreeMap<MemberName, Vec<Mail>>,
    /// When each member's restarts after a death were allowed for, since somebody last asked for her start.
    restarts: BTreeMap<MemberName, Vec<u64>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) id: MessageId,
    /// 0 goes first.
    pub(crate) lane: u8,
}

/// What the world knows of the step that a record belongs to.
pub(crate) struct Facts<'a> {
    /// Members of whom some process is left.
    pub(crate) trees: &'a BTreeSet<MemberName>,
    /// The task that a call of this step names: to claim it, or to end its claim.
    pub(crate) named: Option<TaskId>,
    /// Who was launched in this step already.
    pub(crate) launched: BTreeSet<MemberName>,
}

impl Model {
    pub(crate) fn apply(&mut self, record: &Record, before: &Team, facts: &mut Facts<'_>) {
        let tree_is_left =
            |party: &Party| matches!(party, Party::Member(name) if facts.trees.contains(name));
        if let Event::TaskAdded { task, .. } = &record.event {
            assert!(
                self.given.insert(*task),
                "{task} is a number that was given before"
            );
            self.tasks = self.tasks.max(task.0);
        } else if let Event::TaskClaimed {
            task,
            owner,
            generation,
            attempts,
        } = &record.event
        {
            let on_board = before
                .board()
                .get(*task)
                .expect("a claimed task is on the board");
            let last = self.generations.insert(*task, generation.0).unwrap_or(0);
            assert_eq!(
                generation.0,
                last + 1,
                "each claim of {task} has the next generation"
            );
            assert_eq!(*attempts, on_board.attempts + 1);
            match (self.owners.insert(*task, owner.clone()), owner) {
                (Some(previous), Party::Member(name)) => {
                    assert_eq!(previous, *owner, "{task} has one owner");
                    assert!(
                        facts.launched.contains(name),
                        "{task} is claimed anew with a launch alone"
                    );
                }
                (Some(previous), _) => panic!("{task} belongs to {previous} already"),
                (None, Party::Member(name)) if facts.named != Some(*task) => {
                    let member = before.member(name).expect("an owner is a member");
                    assert_eq!(
                        recount::best_for(before, member),
                        Some(*task),
                        "{name} takes the best she may"
                    );
                }
                (None, _) => {
                    assert_eq!(recount::open(before, on_board), 0, "{task} is not blocked")
                }
            }
        } else if let Event::TaskReleased { task, .. } | Event::TaskFailed { task, .. } =
            &record.event
        {
            let owner = self.owners.remove(task).expect("only a claim is given up");
            assert!(
                facts.named == Some(*task) || !tree_is_left(&owner),
                "{owner} may still work on {task}"
            );
        } else if let Event::TaskCancelled { task } = &record.event {
            self.owners.remove(task);
        } else if let Event::TaskCompleted { task, .. } = &record.event {
            assert!(
                self.owners.remove(task).is_some(),
                "{task} is completed by its owner's claim"
            );
            assert!(self.completed.insert(*task), "{task} completes once");
        } else if let Event::MessageAccepted {
            message,
            from,
            to,
            urgent,
            ..
        } = &record.event
        {
            self.messages += 1;
            assert_eq!(
                message.0, self.messages,
                "messages are numbered without a gap"
            );
            let by_lead = matches!(from, Party::Member(name) if before.member(name).is_some_and(|it| it.plan.lead));
            let lane = if *urgent {
                0
            } else {
                2 - u8::from(by_lead || !matches!(from, Party::Member(_)))
            };
            for party in to {
                if let Party::Member(name) = party {
                    self.unread
                        .entry(name.clone())
                        .or_default()
                        .push(Mail { id: *message, lane });
                }
            }
        } else if let Event::MessagesRead { member, messages } = &record.event {
            let unread = self.unread.entry(member.clone()).or_default();
            unread.retain(|mail| !messages.contains(&mail.id));
        } else if let Event::MemberRemoved { member } = &record.event {
            self.unread.remove(member);
            self.restarts.remove(member);
        } else if let Event::MemberWanted { member } = &record.event {
            self.restarts.remove(member);
        } else if let Event::Booted { .. } = &record.event {
            self.restarts.clear();
        } else if let Event::LaunchStarted { member, .. } = &record.event {
            assert!(
                !facts.trees.contains(member),
                "{member} starts while processes of hers are left"
            );
            let allowed = self.restarts.get(member).and_then(|at| at.last()).copied();
            assert!(
                allowed.is_none_or(|at| at <= record.tick.0),
                "{member} starts before her time"
            );
            facts.launched.insert(member.clone());
        } else if let Event::LaunchEnded { member, next, .. } = &record.event {
            assert!(
                !facts.trees.contains(member),
                "{member} ends while processes of hers are left"
            );
            self.count_death(
                member,
                record.tick.0,
                next,
                &before.member(member).expect("a member").life,
            );
        }
    }

    fn count_death(&mut self, member: &MemberName, now: u64, next: &Next, life: &Life) {
        let Life::Ending {
            then: Then::Recover { .. },
            ..
        } = life
        else {
            return;
        };
        let restarts = self.restarts.entry(member.clone()).or_default();
        let at = match next {
            Next::Launch => now,
            Next::Cool { restart_at } => restart_at.0,
            Next::Hold { .. } => {
                let recent = restarts.iter().filter(|at| now < **at + 60_000).count();
                assert_eq!(
                    recent, 5,
                    "{member} is held at the sixth death within a minute"
                );
                return;
            }
            Next::Stop => panic!("{member} died and is not to be stopped"),
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
