//! Events about tasks on the board, and their effect on the members that work on them.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_team_protocol::id::{Generation, Party, TaskId};
use agent_team_protocol::value::result_line;

use crate::team::Team;
use crate::team::event::{Event, Record, TaskEvent};
use crate::team::member::{Life, Member};
use crate::team::task::{Task, TaskState};
use crate::time::Tick;

impl Team {
    /// Applies an event of the board. Returns the task that it completed, which leaves the board.
    pub(super) fn apply_tasks(&mut self, event: TaskEvent<'_>, record: &Record) -> Option<Task> {
        let tick = record.tick;
        match event {
            TaskEvent::TaskAdded {
                task,
                spec,
                created_by,
            } => self.board.insert(Task {
                id: *task,
                spec: spec.clone(),
                state: TaskState::default(),
                generation: Generation(0),
                attempts: 0,
                refusals: 0,
                releases: 0,
                created_by: created_by.clone(),
                created_at: record.at,
                changed_at: record.at,
                revision: self.revision,
                open: 0,
            }),
            TaskEvent::TaskChanged { task, spec } => {
                self.change_task(*task, record, |task| task.spec = spec.clone())
            }
            TaskEvent::TaskClaimed {
                task,
                owner,
                generation,
                attempts,
            } => {
                self.change_task(*task, record, |task| {
                    task.state = TaskState::InProgress {
                        owner: owner.clone(),
                    };
                    task.generation = *generation;
                    task.attempts = *attempts;
                    task.refusals = 0;
                });
                self.touch_owner(Some(owner.clone()), tick, |member| {
                    member.worked = true;
                    member.lock.close_for_other_task(*task);
                });
                self.clear_idle_notice();
            }
            TaskEvent::TaskReleased {
                task,
                note,
                taken_from,
                releases,
            } => {
                let state = TaskState::Pending {
                    note: Some(note.clone()),
                    taken_from: taken_from.clone(),
                };
                self.end_claim(*task, record, "released", state);
                self.board.change(*task, |task| task.releases = *releases);
            }
            TaskEvent::TaskFailed { task, reason } => {
                let owner = self.board.get(*task).and_then(Task::owner).cloned();
                let state = TaskState::Failed {
                    reason: reason.clone(),
                    owner,
                };
                self.end_claim(*task, record, "failed", state);
            }
            TaskEvent::TaskCancelled { task } => {
                self.end_claim(*task, record, "cancelled", TaskState::Cancelled);
                // A member that failed or released the task no longer owns it, but may still show that result.
                let about_task = format!("{task} ");
                for member in self.members.values_mut() {
                    let last = member.last_result.as_deref().unwrap_or_default();
                    if last.starts_with(&about_task) {
                        member.last_result = Some(report(*task, "cancelled", "").into());
                    }
                }
            }
            TaskEvent::TaskCompleted { task, result, .. } => {
                let completed = self.board.complete(*task)?;
                if let Some(Party::Member(_)) = completed.owner() {
                    self.account.completed += 1;
                }
                self.touch_owner(completed.owner().cloned(), tick, |member| {
                    member.idle_notified = false;
                    member.account.completed += 1;
                    member.last_result =
                        Some(report(*task, "completed", result_line(true, result)).into());
                    member.transcript.report();
                });
                return Some(completed);
            }
            TaskEvent::TaskRefused { task, refusals, .. } => {
                self.change_task(*task, record, |task| task.refusals = *refusals);
            }
            TaskEvent::TaskRetried { task } => self.change_task(*task, record, |task| {
                task.state = TaskState::default();
                task.refusals = 0;
                task.releases = 0;
            }),
        }
        None
    }

    fn change_task(&mut self, id: TaskId, record: &Record, change: impl FnOnce(&mut Task)) {
        let revision = self.revision;
        self.board.change(id, |task| {
            change(task);
            task.changed_at = record.at;
            task.revision = revision;
        });
    }

    fn end_claim(&mut self, id: TaskId, record: &Record, how: &str, state: TaskState) {
        let owner = self.board.get(id).and_then(|task| task.owner().cloned());
        let report = match &state {
            TaskState::Failed { reason, .. } => report(id, how, result_line(false, reason)),
            TaskState::Pending { .. } | TaskState::InProgress { .. } | TaskState::Cancelled => {
                report(id, how, "")
            }
        };
        self.change_task(id, record, |task| task.state = state);
        self.touch_owner(owner, record.tick, |member| {
            member.idle_notified = false;
            member.last_result = Some(report.into());
            member.transcript.report();
        });
    }

    fn touch_owner(&mut self, owner: Option<Party>, tick: Tick, touch: impl FnOnce(&mut Member)) {
        if let Some(Party::Member(name)) = owner
            && let Some(member) = self.members.get_mut(&name)
        {
            touch(member);
            if matches!(member.life, Life::Ready { .. }) {
                member.since = tick;
            }
            self.update_clocks(&name, tick);
        }
    }
}

/// The end of a claim in one line, such as `T-1 completed: greeting.txt is written`.
fn report(task: TaskId, how: &str, line: &str) -> String {
    /// Maximum length of the preview, in characters.
    const PREVIEW: usize = 160;
    if line.is_empty() {
        return format!("{task} {how}");
    }
    let preview: String = line.chars().take(PREVIEW).collect();
    let cut = if preview.len() < line.len() {
        "…"
    } else {
        ""
    };
    format!("{task} {how}: {preview}{cut}")
}

impl Team {
    pub(in crate::team) fn task_events(&self) -> Vec<Event> {
        let keys = self.board.completed_keys();
        let keys = keys.map(|(key, task, digest)| Event::KeyCompleted {
            key: key.clone(),
            task,
            digest,
        });
        let tasks = self.dependencies_first();
        let tasks = tasks
            .chunks(TASKS_PER_RECORD)
            .map(|tasks| Event::TasksKept {
                tasks: tasks.to_vec(),
            });
        keys.chain(tasks).collect()
    }

    /// Every task of the board after its dependencies, so that replay can count the open dependencies of each.
    fn dependencies_first(&self) -> Vec<Arc<Task>> {
        let mut ordered = Vec::with_capacity(self.board.len());
        let mut done: BTreeSet<TaskId> = BTreeSet::new();
        let mut path = Vec::new();
        for task in self.board.shared() {
            path.push(task);
            while let Some(task) = path.last().copied() {
                let open = task
                    .spec
                    .after
                    .iter()
                    .filter_map(|id| self.board.get_shared(*id))
                    .find(|t| !done.contains(&t.id));
                match open {
                    Some(first) => path.push(first),
                    None => {
                        path.pop();
                        if done.insert(task.id) {
                            ordered.push(task.clone());
                        }
                    }
                }
            }
        }
        ordered
    }
}

/// Tasks per record of a snapshot: enough to make the overhead of a record small per task.
const TASKS_PER_RECORD: usize = 64;
