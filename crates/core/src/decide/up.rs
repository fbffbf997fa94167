//! `up`: changes the team to the desired state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agent_team_protocol::id::{MemberName, Party, TaskId};

use super::{CallResult, Decider};
use crate::input::UpSpec;
use crate::refusal::Refused;
use crate::team::answers::{Answer, Change, ChangeKind, Changed};
use crate::team::event::Event;
use crate::team::member::{AfterLaunch, Life, Member};
use crate::team::spec::{FileTask, MemberSpec, TaskSpec};
use crate::team::task::{KeyedTask, Task, TaskState, digest};

/// How long a member that `up` ends, or whose settings cannot be read, may take to finish its work, in milliseconds.
pub(super) const CHANGE_GRACE_MS: u64 = 5_000;

impl Decider<'_> {
    pub(super) fn up(&mut self, wanted: UpSpec) -> CallResult {
        self.check_members(&wanted)?;
        let order = self.check_tasks(&wanted)?;

        if self.team.spec != wanted.team {
            self.record(Event::TeamPlanned { spec: wanted.team });
        }
        let mut changes = Vec::new();
        let mut put = |what: Changed, change: ChangeKind| changes.push(Change { what, change });
        let named: BTreeSet<MemberName> = wanted
            .members
            .iter()
            .map(|spec| spec.name.clone())
            .collect();
        for name in self.removed_members(&named) {
            let was_running = self
                .team
                .member(&name)
                .is_some_and(|member| !member.is_stopped() && !member.is_leaving());
            self.end(
                &name,
                CHANGE_GRACE_MS,
                AfterLaunch::Remove,
                "was removed from the team file",
            );
            if was_running {
                put(Changed::Member(name), ChangeKind::Stopped);
            }
        }
        for spec in wanted.members {
            let name = spec.name.clone();
            if let Some(change) = self.reconcile_member(spec) {
                put(Changed::Member(name), change);
            }
        }
        for name in self.names(restarts_on_up) {
            self.end(
                &name,
                CHANGE_GRACE_MS,
                AfterLaunch::Restart,
                "was started again with the team",
            );
            put(Changed::Member(name), ChangeKind::Started);
        }
        let keys: BTreeSet<Arc<str>> = wanted
            .tasks
            .iter()
            .map(|task| task.spec.key.clone())
            .collect();
        for (key, change) in self.reconcile_tasks(wanted.tasks, &order) {
            put(Changed::Task(key), change);
        }
        for (key, change) in self.cancel_removed(&keys) {
            put(Changed::Task(key), change);
        }
        Ok(Answer::Up { changes }.into())
    }

    fn check_members(&self, wanted: &UpSpec) -> Result<(), Refused> {
        let mut named = BTreeSet::new();
        for spec in &wanted.members {
            if spec.name.is_reserved() && !(spec.lead && spec.name.as_str() == "lead") {
                return Err(Refused::ReservedName(spec.name.clone()));
            }
            if !named.insert(&spec.name) {
                return Err(Refused::Duplicate {
                    what: "members",
                    name: spec.name.to_string(),
                });
            }
        }
        if wanted.members.iter().filter(|spec| spec.lead).count() > 1 {
            return Err(Refused::TwoLeads);
        }
        let by_hand = self.team.members().filter(|member| {
            let runs = !member.is_stopped() || restarts_on_up(member);
            member.spec.by_hand && runs && !named.contains(&member.spec.name)
        });
        let teammates = wanted.members.iter().filter(|spec| !spec.lead);
        let (count, limit) = (teammates.count() + by_hand.count(), wanted.team.teammates);
        if count > limit as usize {
            return Err(Refused::TooManyMembers {
                wanted: count,
                limit,
            });
        }
        Ok(())
    }

    /// Checks every task of the file; returns an order in which each task comes after its dependencies.
    fn check_tasks(&self, wanted: &UpSpec) -> Result<Vec<usize>, Refused> {
        let mut indices: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, task) in wanted.tasks.iter().enumerate() {
            // The assignee may be a member that this `up` adds, so it is checked against the file below.
            let spec = TaskSpec {
                assignee: None,
                ..task.spec.clone()
            };
            self.check_spec(&spec)?;
            if let Some(assignee) = &task.spec.assignee {
                let mut members = wanted.members.iter();
                match members.find(|member| member.name == *assignee) {
                    None => return Err(Refused::UnknownMember(assignee.to_string())),
                    Some(member) if member.claimable.nothing => {
                        return Err(Refused::TakesNoTasks(assignee.clone()));
                    }
                    Some(_) => {}
                }
            }
            if indices.insert(&task.spec.key, index).is_some() {
                return Err(Refused::Duplicate {
                    what: "tasks",
                    name: task.spec.key.to_string(),
                });
            }
        }
        let mut dependencies: Vec<Vec<usize>> = Vec::with_capacity(wanted.tasks.len());
        for task in &wanted.tasks {
            let indices = task.after.iter().map(|key| {
                indices
                    .get(&**key)
                    .copied()
                    .ok_or_else(|| Refused::UnknownDependency {
                        dependent: task.spec.key.to_string(),
                        unknown: key.to_string(),
                    })
            });
            dependencies.push(indices.collect::<Result<_, _>>()?);
        }
        dependencies_first(&dependencies).map_err(|cycle| {
            Refused::Cycle(
                cycle
                    .into_iter()
                    .map(|index| wanted.tasks[index].spec.key.to_string())
                    .collect(),
            )
        })
    }

    fn removed_members(&self, named: &BTreeSet<MemberName>) -> Vec<MemberName> {
        self.team
            .members()
            .filter(|member| !member.spec.by_hand && !named.contains(&member.spec.name))
            .map(|member| member.spec.name.clone())
            .collect()
    }

    fn reconcile_member(&mut self, spec: MemberSpec) -> Option<ChangeKind> {
        let name = spec.name.clone();
        let Some(member) = self.team.member(&name) else {
            self.record(Event::MemberAdded { spec });
            self.record(Event::MemberWanted { member: name });
            return Some(ChangeKind::Started);
        };
        let differs = member.spec != spec;
        let needs_launch = member.spec.settings != spec.settings
            || member.spec.role != spec.role
            || member.spec.lead != spec.lead
            || member.spec.foreign != spec.foreign;
        let life = member.life.clone();
        if differs {
            self.record(Event::MemberChanged { spec });
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
                    AfterLaunch::Restart,
                    "was started again with the team",
                );
                Some(ChangeKind::Started)
            }
            Life::Draining { then, .. } | Life::Ending { then, .. }
                if matches!(
                    then,
                    AfterLaunch::Stop | AfterLaunch::Remove | AfterLaunch::Hold { .. }
                ) =>
            {
                self.end(
                    &name,
                    CHANGE_GRACE_MS,
                    AfterLaunch::Restart,
                    "was started again with the team",
                );
                Some(ChangeKind::Started)
            }
            Life::Ready { .. } | Life::Launching { .. } if needs_launch => {
                self.end(
                    &name,
                    CHANGE_GRACE_MS,
                    AfterLaunch::Restart,
                    "was restarted with new settings",
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
        // The ids of new tasks follow the order of the file, regardless of dependencies.
        let first_new = self.team.next_task();
        let mut next = first_new;
        let ids: Vec<TaskId> = tasks
            .iter()
            .map(|task| {
                self.matching_task(&task.spec).unwrap_or_else(|| {
                    let new = next;
                    next = TaskId(next.0 + 1);
                    new
                })
            })
            .collect();
        let by_key: BTreeMap<Arc<str>, TaskId> = tasks
            .iter()
            .zip(&ids)
            .map(|(task, id)| (task.spec.key.clone(), *id))
            .collect();
        let mut changes = vec![None; tasks.len()];
        let mut tasks: Vec<Option<FileTask>> = tasks.into_iter().map(Some).collect();
        for index in order {
            let Some(FileTask { spec, after }) = tasks[*index].take() else {
                continue;
            };
            let key = spec.key.clone();
            let mut after: Vec<TaskId> = after.iter().map(|key| by_key[key]).collect();
            after.sort_unstable();
            after.dedup();
            let spec = TaskSpec { after, ..spec };
            changes[*index] = self
                .reconcile_task(ids[*index], first_new, spec)
                .map(|change| (key, change));
        }
        changes.into_iter().flatten().collect()
    }

    /// The newest task that an earlier `up` added with the key of `spec`. A completed task is final: if the digest of
    /// its entry changed, the file describes new work, which gets a task of its own.
    fn matching_task(&self, spec: &TaskSpec) -> Option<TaskId> {
        match self.team.board.of_file(&spec.key)? {
            KeyedTask::Open(task) => Some(task.id),
            KeyedTask::Completed(task, was) => (was == digest(spec)).then_some(task),
        }
    }

    fn reconcile_task(
        &mut self,
        id: TaskId,
        first_new: TaskId,
        spec: TaskSpec,
    ) -> Option<ChangeKind> {
        if id >= first_new {
            let change = match self.team.board.of_file(&spec.key) {
                Some(KeyedTask::Completed(completed, _)) => ChangeKind::AddedAfter {
                    completed,
                    task: id,
                },
                Some(KeyedTask::Open(_)) | None => ChangeKind::Added,
            };
            self.record(Event::TaskAdded {
                task: id,
                spec,
                created_by: Party::User,
            });
            return Some(change);
        }
        let task = self.team.board.get(id)?;
        if task.spec == spec {
            return None;
        }
        match &task.state {
            TaskState::Pending { .. } => {
                self.record(Event::TaskChanged { task: id, spec });
                Some(ChangeKind::Updated)
            }
            TaskState::InProgress { .. } => Some(ChangeKind::LeftInProgress),
            TaskState::Failed { .. } | TaskState::Cancelled => {
                // The user decides whether to repeat the same work: with `task retry`.
                if digest(&task.spec) == digest(&spec) {
                    return None;
                }
                self.record(Event::TaskChanged { task: id, spec });
                self.record(Event::TaskRetried { task: id });
                Some(ChangeKind::Retried(id))
            }
        }
    }

    fn cancel_removed(&mut self, keys: &BTreeSet<Arc<str>>) -> Vec<(Arc<str>, ChangeKind)> {
        let removed: Vec<Task> = self
            .team
            .board
            .iter()
            .filter(|task| task.spec.from_file && !keys.contains(&task.spec.key))
            .filter(|task| match task.state {
                TaskState::Pending { .. } | TaskState::InProgress { .. } => true,
                TaskState::Failed { .. } | TaskState::Cancelled => false,
            })
            .cloned()
            .collect();
        let is_pending = |task: &&Task| task.owner().is_none();
        for task in removed.iter().filter(is_pending) {
            // Clear `from_file`: if the file contains the key again later, the key describes a new task.
            let spec = TaskSpec {
                from_file: false,
                ..task.spec.clone()
            };
            self.record(Event::TaskChanged {
                task: task.id,
                spec,
            });
            self.record(Event::TaskCancelled { task: task.id });
        }
        // Notify after all cancellations: a dependent task that the file has also removed no longer waits.
        for task in removed.iter().filter(is_pending) {
            self.notify_cancelled(task, None);
        }
        let change_of = |task: &Task| match task.owner() {
            None => ChangeKind::Cancelled,
            Some(_) => ChangeKind::LeftInProgress,
        };
        let changes = removed.iter();
        changes
            .map(|task| (task.spec.key.clone(), change_of(task)))
            .collect()
    }
}

/// Whether `up` starts this spawned member again. It does if the member stopped with the team, or is held.
fn restarts_on_up(member: &Member) -> bool {
    member.spec.by_hand
        && match &member.life {
            Life::Stopped => member.suspended,
            Life::Draining { then, .. } | Life::Ending { then, .. } => {
                member.suspended && *then == AfterLaunch::Stop
            }
            Life::Held { .. } => true,
            Life::Planned
            | Life::Launching { .. }
            | Life::Ready { .. }
            | Life::StopRequested { .. }
            | Life::Cooling { .. } => false,
        }
}

/// Sorts positions so that each comes after its dependencies. The error contains the positions of a cycle.
fn dependencies_first(dependencies: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; dependencies.len()];
    let mut order = Vec::with_capacity(dependencies.len());
    for start in 0..dependencies.len() {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::Open;
        let mut path = vec![(start, 0)];
        while let Some((index, next)) = path.last_mut() {
            let Some(dependency) = dependencies[*index].get(*next).copied() else {
                marks[*index] = Mark::Done;
                order.push(*index);
                path.pop();
                continue;
            };
            *next += 1;
            match marks[dependency] {
                Mark::Done => {}
                Mark::New => {
                    marks[dependency] = Mark::Open;
                    path.push((dependency, 0));
                }
                Mark::Open => {
                    let from = path
                        .iter()
                        .position(|(index, _)| *index == dependency)
                        .unwrap_or(0);
                    return Err(path[from..].iter().map(|(index, _)| *index).collect());
                }
            }
        }
    }
    Ok(order)
}
