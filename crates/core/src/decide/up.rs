//! `up`: applies the differences between the current team and the desired one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agent_team_protocol::id::{MemberName, Party, TaskId};

use super::{CallResult, Decider};
use crate::input::UpPlan;
use crate::refusal::Refused;
use crate::team::answers::{Answer, Change, ChangeKind, Changed};
use crate::team::event::Event;
use crate::team::member::{Life, Member, Then};
use crate::team::plan::{FileTask, MemberPlan, TaskPlan};
use crate::team::task::{KeyedTask, Outcome, digest};

/// How long a member whose settings changed, or that left the file, may take to finish its work, in milliseconds.
pub(super) const CHANGE_GRACE_MS: u64 = 5_000;

impl Decider<'_> {
    pub(super) fn up(&mut self, wanted: UpPlan) -> CallResult {
        self.check_members(&wanted)?;
        let order = self.check_tasks(&wanted)?;

        if self.team.plan != wanted.team {
            self.record(Event::TeamPlanned { plan: wanted.team });
        }
        let mut changes = Vec::new();
        let mut put = |what: Changed, change: ChangeKind| changes.push(Change { what, change });
        let named: BTreeSet<MemberName> = wanted
            .members
            .iter()
            .map(|plan| plan.name.clone())
            .collect();
        for name in self.removed_members(&named) {
            let was_running = self
                .team
                .member(&name)
                .is_some_and(|member| !member.is_stopped() && !member.is_leaving());
            self.end(
                &name,
                CHANGE_GRACE_MS,
                Then::Remove,
                "it was removed from the team file",
            );
            if was_running {
                put(Changed::Member(name), ChangeKind::Stopped);
            }
        }
        for plan in wanted.members {
            let name = plan.name.clone();
            if let Some(change) = self.reconcile_member(plan) {
                put(Changed::Member(name), change);
            }
        }
        for name in self.names(restarts_on_up) {
            self.end(
                &name,
                CHANGE_GRACE_MS,
                Then::Restart,
                "the team was brought up again",
            );
            put(Changed::Member(name), ChangeKind::Started);
        }
        let keys: BTreeSet<Arc<str>> = wanted
            .tasks
            .iter()
            .map(|task| task.plan.key.clone())
            .collect();
        for (key, change) in self.reconcile_tasks(wanted.tasks, &order) {
            put(Changed::Task(key), change);
        }
        for (key, change) in self.cancel_removed(&keys) {
            put(Changed::Task(key), change);
        }
        Ok(Answer::Up { changes }.into())
    }

    fn check_members(&self, wanted: &UpPlan) -> Result<(), Refused> {
        let mut named = BTreeSet::new();
        for plan in &wanted.members {
            if plan.name.is_reserved() && !(plan.lead && plan.name.as_str() == "lead") {
                return Err(Refused::ReservedName(plan.name.clone()));
            }
            if !named.insert(&plan.name) {
                return Err(Refused::Duplicate {
                    what: "members",
                    name: plan.name.to_string(),
                });
            }
        }
        if wanted.members.iter().filter(|plan| plan.lead).count() > 1 {
            return Err(Refused::TwoLeads);
        }
        let by_hand = self.team.members().filter(|member| {
            let runs = !member.is_stopped() || restarts_on_up(member);
            member.plan.by_hand && runs && !named.contains(&member.plan.name)
        });
        let teammates = wanted.members.iter().filter(|plan| !plan.lead);
        let (count, limit) = (teammates.count() + by_hand.count(), wanted.team.teammates);
        if count > limit as usize {
            return Err(Refused::TooManyMembers {
                wanted: count,
                limit,
            });
        }
        Ok(())
    }

    /// Checks every task of the file; returns an order in which each comes after its dependencies.
    fn check_tasks(&self, wanted: &UpPlan) -> Result<Vec<usize>, Refused> {
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (place, task) in wanted.tasks.iter().enumerate() {
            // `for` may name a new member of the same file.
            let plan = TaskPlan {
                assignee: None,
                ..task.plan.clone()
            };
            self.check_plan(&plan)?;
            if let Some(assignee) = &task.plan.assignee
                && !wanted.members.iter().any(|member| member.name == *assignee)
            {
                return Err(Refused::UnknownMember(assignee.to_string()));
            }
            if places.insert(&task.plan.key, place).is_some() {
                return Err(Refused::Duplicate {
                    what: "tasks",
                    name: task.plan.key.to_string(),
                });
            }
        }
        let mut waits: Vec<Vec<usize>> = Vec::with_capacity(wanted.tasks.len());
        for task in &wanted.tasks {
            let places = task.after.iter().map(|key| {
                places
                    .get(&**key)
                    .copied()
                    .ok_or_else(|| Refused::UnknownDependency {
                        dependent: task.plan.key.to_string(),
                        unknown: key.to_string(),
                    })
            });
            waits.push(places.collect::<Result<_, _>>()?);
        }
        dependencies_first(&waits).map_err(|cycle| {
            Refused::Cycle(
                cycle
                    .into_iter()
                    .map(|place| wanted.tasks[place].plan.key.to_string())
                    .collect(),
            )
        })
    }

    /// Members of the previous file that are missing in this one.
    fn removed_members(&self, named: &BTreeSet<MemberName>) -> Vec<MemberName> {
        self.team
            .members()
            .filter(|member| !member.plan.by_hand && !named.contains(&member.plan.name))
            .map(|member| member.plan.name.clone())
            .collect()
    }

    fn reconcile_member(&mut self, plan: MemberPlan) -> Option<ChangeKind> {
        let name = plan.name.clone();
        let Some(member) = self.team.member(&name) else {
            self.record(Event::MemberAdded { plan });
            self.record(Event::MemberWanted { member: name });
            return Some(ChangeKind::Started);
        };
        let differs = member.plan != plan;
        let needs_launch = member.plan.settings != plan.settings
            || member.plan.role != plan.role
            || member.plan.lead != plan.lead
            || member.plan.foreign != plan.foreign;
        let life = member.life.clone();
        if differs {
            self.record(Event::MemberChanged { plan });
        }
        match life {
            Life::Stopped | Life::Held { .. } => {
                self.record(Event::MemberWanted { member: name });
                Some(ChangeKind::Started)
            }
            Life::StopRequested { .. } => {
                self.end(
                    &name,
                    CHANGE_GRACE_MS,
                    Then::Restart,
                    "the team was brought up again",
                );
                Some(ChangeKind::Started)
            }
            Life::Draining { then, .. } | Life::Ending { then, .. }
                if matches!(then, Then::Stop | Then::Remove | Then::Hold { .. }) =>
            {
                self.end(
                    &name,
                    CHANGE_GRACE_MS,
                    Then::Restart,
                    "the team was brought up again",
                );
                Some(ChangeKind::Started)
            }
            Life::Ready { .. } | Life::Launching { .. } if needs_launch => {
                self.end(
                    &name,
                    CHANGE_GRACE_MS,
                    Then::Restart,
                    "its settings changed",
                );
                Some(ChangeKind::Restarted)
            }
            Life::Planned
            | Life::Launching { .. }
            | Life::Ready { .. }
            | Life::Draining { .. }
            | Life::Ending { .. }
            | Life::Cooling { .. } => differs.then_some(ChangeKind::Updated),
        }
    }

    fn reconcile_tasks(
        &mut self,
        tasks: Vec<FileTask>,
        order: &[usize],
    ) -> Vec<(Arc<str>, ChangeKind)> {
        // Numbers follow the order of the file, regardless of dependencies.
        let first_new = self.team.next_task();
        let mut next = first_new;
        let ids: Vec<TaskId> = tasks
            .iter()
            .map(|task| {
                self.matching_task(&task.plan).unwrap_or_else(|| {
                    let given = next;
                    next = TaskId(next.0 + 1);
                    given
                })
            })
            .collect();
        let by_key: BTreeMap<Arc<str>, TaskId> = tasks
            .iter()
            .zip(&ids)
            .map(|(task, id)| (task.plan.key.clone(), *id))
            .collect();
        let mut changes = vec![None; tasks.len()];
        let mut tasks: Vec<Option<FileTask>> = tasks.into_iter().map(Some).collect();
        for place in order {
            let Some(FileTask { plan, after }) = tasks[*place].take() else {
                continue;
            };
            let key = plan.key.clone();
            let mut after: Vec<TaskId> = after.iter().map(|key| by_key[key]).collect();
            after.sort_unstable();
            after.dedup();
            let plan = TaskPlan { after, ..plan };
            changes[*place] = self
                .reconcile_task(ids[*place], first_new, plan)
                .map(|change| (key, change));
        }
        changes.into_iter().flatten().collect()
    }

    /// The task on the board that this one is identical to, unless that one is finished and differs.
    fn matching_task(&self, plan: &TaskPlan) -> Option<TaskId> {
        let (id, same) = match self.team.board.of_file(&plan.key)? {
            KeyedTask::Open(task) => match task.outcome {
                Outcome::Pending { .. } | Outcome::InProgress { .. } => (task.id, true),
                Outcome::Failed { .. } | Outcome::Cancelled => {
                    (task.id, digest(&task.plan) == digest(plan))
                }
            },
            KeyedTask::Completed(task, was) => (task, was == digest(plan)),
        };
        same.then_some(id)
    }

    fn reconcile_task(
        &mut self,
        id: TaskId,
        first_new: TaskId,
        plan: TaskPlan,
    ) -> Option<ChangeKind> {
        if id >= first_new {
            self.record(Event::TaskAdded {
                task: id,
                plan,
                created_by: Party::User,
            });
            return Some(ChangeKind::Added);
        }
        let task = self.team.board.get(id)?;
        if task.plan == plan {
            return None;
        }
        match &task.outcome {
            Outcome::Pending { .. } => {
                self.record(Event::TaskChanged { task: id, plan });
                Some(ChangeKind::Updated)
            }
            Outcome::InProgress { .. } => Some(ChangeKind::LeftInProgress),
            Outcome::Failed { .. } | Outcome::Cancelled => None,
        }
    }

    fn cancel_removed(&mut self, keys: &BTreeSet<Arc<str>>) -> Vec<(Arc<str>, ChangeKind)> {
        let removed: Vec<(TaskId, Arc<str>, bool)> = self
            .team
            .board
            .iter()
            .filter(|task| task.plan.from_file && !keys.contains(&task.plan.key))
            .filter_map(|task| match task.outcome {
                Outcome::Pending { .. } => Some((task.id, task.plan.key.clone(), true)),
                Outcome::InProgress { .. } => Some((task.id, task.plan.key.clone(), false)),
                Outcome::Failed { .. } | Outcome::Cancelled => None,
            })
            .collect();
        removed
            .into_iter()
            .map(|(task, key, pending)| {
                if pending {
                    // If the file names the key again later, that is a new task: this one no longer holds the key.
                    if let Some(plan) = self.team.board.get(task).map(|task| task.plan.clone()) {
                        let plan = TaskPlan {
                            from_file: false,
                            ..plan
                        };
                        self.record(Event::TaskChanged { task, plan });
                    }
                    self.record(Event::TaskCancelled { task });
                    (key, ChangeKind::Cancelled)
                } else {
                    (key, ChangeKind::LeftInProgress)
                }
            })
            .collect()
    }
}

/// Whether `up` starts a spawned member again: it ended with the team, or it is held.
fn restarts_on_up(member: &Member) -> bool {
    member.plan.by_hand
        && match &member.life {
            Life::Stopped => member.suspended,
            Life::Draining { then, .. } | Life::Ending { then, .. } => {
                member.suspended && *then == Then::Stop
            }
            Life::Held { .. } => true,
            Life::Planned
            | Life::Launching { .. }
            | Life::Ready { .. }
            | Life::StopRequested { .. }
            | Life::Cooling { .. } => false,
        }
}

/// Positions in an order in which each comes after its dependencies, or the positions of a cycle.
fn dependencies_first(waits: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; waits.len()];
    let mut order = Vec::with_capacity(waits.len());
    for start in 0..waits.len() {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::Open;
        let mut path = vec![(start, 0)];
        while let Some((place, next)) = path.last_mut() {
            let Some(wait) = waits[*place].get(*next).copied() else {
                marks[*place] = Mark::Done;
                order.push(*place);
                path.pop();
                continue;
            };
            *next += 1;
            match marks[wait] {
                Mark::Done => {}
                Mark::New => {
                    marks[wait] = Mark::Open;
                    path.push((wait, 0));
                }
                Mark::Open => {
                    let from = path
                        .iter()
                        .position(|(place, _)| *place == wait)
                        .unwrap_or(0);
                    return Err(path[from..].iter().map(|(place, _)| *place).collect());
                }
            }
        }
    }
    Ok(order)
}
