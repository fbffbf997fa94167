//! The board: tasks, their owners, and an index of the ready tasks.
//!
//! ```text
//!              TaskClaimed                TaskCompleted
//!   Pending ────────────────▶ InProgress ──────────────▶ (leaves memory)
//!      ▲  ◀────TaskReleased────    │ TaskFailed, also at the third release by an owner
//!      │  TaskRetried              ▼
//!      └──────────────── Failed, Cancelled
//! ```
//! `TaskCancelled` leads to `Cancelled` from every other state. Completed tasks are not kept in memory: an assigned id
//! that is not on the board belongs to a completed task. Ready tasks are indexed by the members that may claim them, so
//! finding a task to claim takes O(log n) on a board of n tasks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::{
    Generation, MemberName, Party, Revision, RoleName, TaskId, stable_hash,
};
use agent_team_protocol::value::TaskCounts;

use crate::team::member::Member;
use crate::team::spec::TaskSpec;
use crate::team::stored::is_default;

/// How often in a row a hook may refuse a completion.
pub const REFUSALS_MAX: u32 = 3;

/// The number of releases by owners at which a task fails, so that it is not claimed and released forever.
pub const RELEASES_MAX: u32 = 3;

/// A task that is not completed. Snapshots store it in this form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    #[serde(rename = "plan")]
    pub spec: TaskSpec,
    #[serde(default, rename = "outcome", skip_serializing_if = "is_default")]
    pub state: TaskState,
    /// The generation of the current claim, or else of the last claim.
    #[serde(default, skip_serializing_if = "is_default")]
    pub generation: Generation,
    #[serde(default, skip_serializing_if = "is_default")]
    pub attempts: u32,
    /// How often in a row the completion was refused.
    #[serde(default, skip_serializing_if = "is_default")]
    pub refusals: u32,
    /// How often owners have released the task since it was added or last retried.
    #[serde(default, skip_serializing_if = "is_default")]
    pub releases: u32,
    pub created_by: Party,
    /// Unix time in milliseconds, as is `changed_at`.
    pub created_at: u64,
    pub changed_at: u64,
    pub revision: Revision,
    /// How many tasks of `spec.after` are not completed. The board keeps this count current.
    #[serde(skip)]
    pub(crate) open: u32,
}

/// A task's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// `note`: why the task was returned, if it was. `taken_from`: the member that lost the task and does not claim it
    /// again on its own.
    Pending {
        note: Option<Arc<str>>,
        taken_from: Option<MemberName>,
    },
    InProgress {
        owner: Party,
    },
    Failed {
        reason: Arc<str>,
        /// The owner of the claim that failed, if there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<Party>,
    },
    Cancelled,
}

impl Default for TaskState {
    fn default() -> Self {
        Self::Pending {
            note: None,
            taken_from: None,
        }
    }
}

impl Task {
    pub fn is_blocked(&self) -> bool {
        self.open > 0
    }

    /// The owner of the current claim.
    pub fn owner(&self) -> Option<&Party> {
        match &self.state {
            TaskState::InProgress { owner } => Some(owner),
            TaskState::Pending { .. } | TaskState::Failed { .. } | TaskState::Cancelled => None,
        }
    }

    fn ready_key(&self) -> ReadyKey {
        ReadyKey {
            claimants: match (&self.spec.assignee, &self.spec.role) {
                (Some(member), _) => Claimants::Member(member.clone()),
                (None, Some(role)) => Claimants::Role(role.clone()),
                (None, None) => Claimants::Anyone,
            },
            runs: self.spec.run.is_some(),
        }
    }

    fn rank(&self) -> ReadyRank {
        (Reverse(self.spec.priority), self.id)
    }

    fn is_ready(&self) -> bool {
        self.open == 0 && matches!(self.state, TaskState::Pending { .. })
    }
}

/// A key of the index of ready tasks. All tasks with the same key can be claimed by the same members.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ReadyKey {
    claimants: Claimants,
    runs: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Claimants {
    Member(MemberName),
    Role(RoleName),
    Anyone,
}

type ReadyRank = (Reverse<i32>, TaskId);

/// Why the dependencies of a task are invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraphError {
    Unknown(TaskId),
    /// The tasks of the cycle in order, starting with the changed task.
    Cycle(Vec<TaskId>),
}

/// The task that a key of the team file refers to.
pub(crate) enum KeyedTask<'a> {
    Open(&'a Task),
    /// The task, and the digest of its spec.
    Completed(TaskId, u64),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Board {
    /// Shared with snapshots that are being stored.
    tasks: BTreeMap<TaskId, Arc<Task>>,
    /// Pairs of a task and a task that depends on it.
    blocks: BTreeSet<(TaskId, TaskId)>,
    ready: BTreeMap<ReadyKey, BTreeSet<ReadyRank>>,
    claims: BTreeMap<Party, BTreeSet<TaskId>>,
    failed: BTreeSet<TaskId>,
    cancelled: BTreeSet<TaskId>,
    /// Tasks by the hash of their key. The key itself is in the task.
    keys: BTreeSet<(u64, TaskId)>,
    /// For each key of the team file whose newest task is completed: that task, and the digest of its spec.
    completed_keys: BTreeMap<Arc<str>, (TaskId, u64)>,
    pub(crate) completed: u64,
    /// The highest task number that was assigned.
    pub(crate) last: u64,
}

impl Board {
    pub fn get(&self, task: TaskId) -> Option<&Task> {
        self.tasks.get(&task).map(Arc::as_ref)
    }

    /// How many tasks are in each state. Does not iterate over the tasks, because the status lines need the counts
    /// after each commit.
    pub fn counts(&self) -> TaskCounts {
        let in_progress = self.claims.values().map(BTreeSet::len).sum::<usize>();
        let (failed, cancelled) = (self.failed.len(), self.cancelled.len());
        let pending = self.tasks.len() - in_progress - failed - cancelled;
        TaskCounts {
            pending: pending as u64,
            in_progress: in_progress as u64,
            completed: self.completed,
            failed: failed as u64,
            cancelled: cancelled as u64,
        }
    }

    /// How many tasks are not completed.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The tasks with a higher number than `last`.
    pub fn after(&self, last: TaskId) -> impl Iterator<Item = &Task> {
        self.tasks
            .range((std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded))
            .map(|(_, task)| &**task)
    }

    /// Every task that is not completed, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Task> {
        self.shared().map(Arc::as_ref)
    }

    pub(crate) fn shared(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values()
    }

    pub(crate) fn get_shared(&self, task: TaskId) -> Option<&Arc<Task>> {
        self.tasks.get(&task)
    }

    pub fn completed(&self) -> u64 {
        self.completed
    }

    pub fn has_existed(&self, task: TaskId) -> bool {
        (1..=self.last).contains(&task.0)
    }

    pub fn is_completed(&self, task: TaskId) -> bool {
        self.has_existed(task) && !self.tasks.contains_key(&task)
    }

    /// The tasks that depend on this task, in order.
    pub fn blocks(&self, task: TaskId) -> impl Iterator<Item = TaskId> {
        self.blocks
            .range(all_of(task))
            .map(|(_, dependent)| *dependent)
    }

    /// The newest task with this key. Completed tasks are found only if the team file defined them.
    pub fn with_key(&self, key: &str) -> Option<TaskId> {
        let on_board = self.of_key(key).map(|task| task.id).next();
        let completed = self.completed_keys.get(key).map(|(task, _)| *task);
        on_board.max(completed)
    }

    /// The newest task of the team file with this key.
    pub(crate) fn of_file(&self, key: &str) -> Option<KeyedTask<'_>> {
        let on_board = self.of_key(key).find(|task| task.spec.from_file);
        match (on_board, self.completed_keys.get(key)) {
            (Some(task), Some((completed, _))) if task.id > *completed => {
                Some(KeyedTask::Open(task))
            }
            (_, Some((task, digest))) => Some(KeyedTask::Completed(*task, *digest)),
            (task, None) => task.map(KeyedTask::Open),
        }
    }

    /// The tasks of the board with this key, newest first.
    fn of_key(&self, key: &str) -> impl Iterator<Item = &Task> {
        self.keys
            .range(all_of(stable_hash(key.bytes())))
            .rev()
            .filter_map(|(_, id)| self.get(*id))
            .filter(move |task| &*task.spec.key == key)
    }

    pub fn claims(&self, owner: &Party) -> impl Iterator<Item = &Task> {
        self.claims
            .get(owner)
            .into_iter()
            .flatten()
            .filter_map(|task| self.get(*task))
    }

    pub(crate) fn in_progress(&self) -> impl Iterator<Item = &Task> {
        self.claims
            .values()
            .flatten()
            .filter_map(|task| self.get(*task))
    }

    /// The best ready task that the member may claim on its own: highest priority, then lowest number.
    pub(crate) fn next_for(&self, member: &Member) -> Option<TaskId> {
        if member.spec.claimable.nothing {
            return None;
        }
        let mut claimants = vec![Claimants::Member(member.spec.name.clone())];
        if member.spec.claimable.unassigned {
            claimants.push(Claimants::Role(member.spec.role.clone()));
            claimants.push(Claimants::Anyone);
        }
        let runs: &[bool] = if member.spec.claimable.without_run {
            &[true, false]
        } else {
            &[true]
        };
        claimants
            .into_iter()
            .flat_map(|claimants| {
                runs.iter().map(move |runs| ReadyKey {
                    claimants: claimants.clone(),
                    runs: *runs,
                })
            })
            .filter_map(|key| {
                self.ready
                    .get(&key)?
                    .iter()
                    .find(|(_, task)| !self.was_taken(*task, member))
            })
            .min()
            .map(|(_, task)| *task)
    }

    fn was_taken(&self, task: TaskId, from: &Member) -> bool {
        matches!(
            self.tasks.get(&task).map(|task| &task.state),
            Some(TaskState::Pending { taken_from: Some(member), .. }) if *member == from.spec.name
        )
    }

    /// The best ready task of the whole board.
    pub(crate) fn next_for_any_member(&self) -> Option<TaskId> {
        self.ready
            .values()
            .filter_map(BTreeSet::first)
            .min()
            .map(|(_, task)| *task)
    }

    /// Whether the task's assignee and role permit the member to claim it.
    pub(crate) fn may_take(&self, member: &Member, task: &Task) -> bool {
        if member.spec.claimable.nothing {
            return false;
        }
        match (&task.spec.assignee, &task.spec.role) {
            (Some(assignee), _) => *assignee == member.spec.name,
            (None, Some(role)) => *role == member.spec.role,
            (None, None) => true,
        }
    }

    /// Whether `task` may depend on the tasks in `after`.
    pub(crate) fn check_after(&self, task: TaskId, after: &[TaskId]) -> Result<(), GraphError> {
        if let Some(unknown) = after.iter().find(|id| !self.has_existed(**id)) {
            return Err(if *unknown == task {
                GraphError::Cycle(vec![task])
            } else {
                GraphError::Unknown(*unknown)
            });
        }
        // Depth-first search from each new dependency: reaching the task itself closes a cycle.
        let mut seen = BTreeSet::new();
        let mut path: Vec<(TaskId, std::slice::Iter<'_, TaskId>)> = vec![(task, after.iter())];
        while let Some((_, rest)) = path.last_mut() {
            match rest.next() {
                None => {
                    path.pop();
                }
                Some(next) if *next == task => {
                    return Err(GraphError::Cycle(path.iter().map(|(id, _)| *id).collect()));
                }
                Some(next) if seen.insert(*next) => {
                    if let Some(on_board) = self.tasks.get(next) {
                        path.push((*next, on_board.spec.after.iter()));
                    }
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    pub(crate) fn insert(&mut self, mut task: Task) {
        task.spec.share_texts();
        task.open = self.count_open(&task.spec);
        self.last = self.last.max(task.id.0);
        self.keys.insert((hash_of_key(&task), task.id));
        let is_newer = |(completed, _): &(TaskId, u64)| *completed < task.id;
        if task.spec.from_file
            && self
                .completed_keys
                .get(&task.spec.key)
                .is_some_and(is_newer)
        {
            self.completed_keys.remove(&task.spec.key);
        }
        self.link(&task);
        self.index(&task, true);
        self.tasks.insert(task.id, Arc::new(task));
    }

    /// Changes a task and updates every index.
    pub(crate) fn change(&mut self, id: TaskId, change: impl FnOnce(&mut Task)) {
        let Some(mut shared) = self.tasks.remove(&id) else {
            return;
        };
        let task = Arc::make_mut(&mut shared);
        self.index(task, false);
        self.unlink(task);
        change(task);
        task.spec.share_texts();
        task.open = self.count_open(&task.spec);
        self.link(task);
        self.index(task, true);
        self.tasks.insert(id, shared);
    }

    /// Removes a completed task from the board. Pending tasks without another open dependency become ready.
    pub(crate) fn complete(&mut self, id: TaskId) -> Option<Task> {
        let task = self.tasks.remove(&id)?;
        self.index(&task, false);
        self.unlink(&task);
        self.completed += 1;
        self.keys.remove(&(hash_of_key(&task), id));
        if task.spec.from_file {
            let newer = match self.of_file(&task.spec.key) {
                Some(KeyedTask::Open(other)) => other.id > id,
                Some(KeyedTask::Completed(other, _)) => other > id,
                None => false,
            };
            if !newer {
                self.remember_key(task.spec.key.clone(), id, digest(&task.spec));
            }
        }
        let dependents: Vec<TaskId> = self.blocks(id).collect();
        for dependent_id in dependents {
            self.blocks.remove(&(id, dependent_id));
            let Some(mut dependent) = self.tasks.remove(&dependent_id) else {
                continue;
            };
            Arc::make_mut(&mut dependent).open -= 1;
            self.index(&dependent, true);
            self.tasks.insert(dependent_id, dependent);
        }
        Some(Arc::unwrap_or_clone(task))
    }

    pub(crate) fn remember_key(&mut self, key: Arc<str>, task: TaskId, digest: u64) {
        self.completed_keys.insert(key, (task, digest));
    }

    /// The keys of the team file whose newest task is completed, each with that task and the digest of its spec.
    pub fn completed_keys(&self) -> impl Iterator<Item = (&Arc<str>, TaskId, u64)> {
        self.completed_keys
            .iter()
            .map(|(key, (task, digest))| (key, *task, *digest))
    }

    fn count_open(&self, spec: &TaskSpec) -> u32 {
        let open = spec
            .after
            .iter()
            .filter(|id| self.tasks.contains_key(id))
            .count();
        u32::try_from(open).expect("the number of dependencies fits into u32")
    }

    fn link(&mut self, task: &Task) {
        for after in task
            .spec
            .after
            .iter()
            .filter(|id| self.tasks.contains_key(id))
        {
            self.blocks.insert((*after, task.id));
        }
    }

    fn unlink(&mut self, task: &Task) {
        for after in &task.spec.after {
            self.blocks.remove(&(*after, task.id));
        }
    }

    fn index(&mut self, task: &Task, present: bool) {
        if task.is_ready() {
            put(&mut self.ready, task.ready_key(), task.rank(), present);
        }
        if let Some(owner) = task.owner() {
            put(&mut self.claims, owner.clone(), task.id, present);
        }
        let ended = match task.state {
            TaskState::Failed { .. } => &mut self.failed,
            TaskState::Cancelled => &mut self.cancelled,
            TaskState::Pending { .. } | TaskState::InProgress { .. } => return,
        };
        match present {
            true => ended.insert(task.id),
            false => ended.remove(&task.id),
        };
    }
}

fn hash_of_key(task: &Task) -> u64 {
    stable_hash(task.spec.key.bytes())
}

/// The range of all pairs that begin with `first`.
fn all_of<T: Copy>(first: T) -> std::ops::RangeInclusive<(T, TaskId)> {
    (first, TaskId(0))..=(first, TaskId(u64::MAX))
}

fn put<K: Ord, V: Ord>(index: &mut BTreeMap<K, BTreeSet<V>>, key: K, value: V, present: bool) {
    let mut entry = match index.entry(key) {
        std::collections::btree_map::Entry::Occupied(entry) => entry,
        std::collections::btree_map::Entry::Vacant(entry) => {
            if present {
                entry.insert(BTreeSet::from([value]));
            }
            return;
        }
    };
    if present {
        entry.get_mut().insert(value);
    } else {
        entry.get_mut().remove(&value);
        if entry.get().is_empty() {
            entry.remove();
        }
    }
}

/// A digest of a task of the team file. If the digest changes, the file describes a different task. Dependencies,
/// `active_form` and `metadata` do not change the work, so the digest does not include them.
pub(crate) fn digest(spec: &TaskSpec) -> u64 {
    let list = |list: &[Arc<str>]| list.join("\u{1}");
    let parts: [&str; 11] = [
        &spec.key,
        &spec.title,
        &spec.description,
        &spec.priority.to_string(),
        &list(&spec.labels),
        spec.role.as_ref().map_or("", RoleName::as_str),
        spec.assignee.as_ref().map_or("", MemberName::as_str),
        &list(&spec.files),
        spec.run.as_deref().unwrap_or(""),
        spec.verify.as_deref().unwrap_or(""),
        if spec.rerun { "rerun" } else { "" },
    ];
    stable_hash(parts.join("\0").bytes())
}
