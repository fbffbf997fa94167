//! Claims of members: how a claim starts, moves to a successor launch, and ends without a result.
//!
//! Called by `lifecycle`, `settle` and the calls of the board. A task with `rerun = false` starts only once: when a
//! member's claim ends without a result, the task fails, and only a retry makes it pending again. The core cannot know
//! whether the worker had started the task, so the claim counts as a start.

use std::sync::Arc;

use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::id::{Generation, MemberName, Party, TaskId};

use super::{Decider, TEXT_MAX};
use crate::team::event::Event;
use crate::team::spec::TaskSpec;
use crate::team::task::{RELEASES_MAX, Task, TaskState};

/// Maximum length of the release note that the reason of a failure quotes, in bytes.
const NOTE_MAX: usize = TEXT_MAX - 256;

impl Decider<'_> {
    /// Claims a task under its next generation.
    pub(super) fn claim_as(&mut self, task: &Task, owner: Party) -> Generation {
        let generation = Generation(task.generation.0 + 1);
        if let Party::Member(name) = &owner {
            self.withdraw_for_task(name, task.id);
        }
        self.record(Event::TaskClaimed {
            task: task.id,
            owner,
            generation,
            attempts: task.attempts + 1,
        });
        generation
    }

    /// Moves the claims of a member's previous launch to the launch that starts now. Fails tasks with `rerun = false`:
    /// in the journal of an earlier version, the member can still own such a task.
    pub(super) fn renew_claims(&mut self, member: &MemberName) {
        for task in self.claims_of(member) {
            if task.spec.rerun {
                self.claim_as(&task, Party::Member(member.clone()));
            } else {
                self.fail_lost(&task, &format!("{member} was relaunched"));
            }
        }
    }

    /// Fails those claimed tasks of a relaunched member that must not run again.
    pub(super) fn fail_lost_claims(&mut self, member: &MemberName, why: &str) {
        for task in self.claims_of(member) {
            if !may_start_again(&task) {
                self.fail_lost(&task, why);
            }
        }
    }

    /// Returns a member's claims to the board; tasks that must not run again fail. Called when no process of the member
    /// is left.
    pub(super) fn return_claims(&mut self, member: &MemberName, why: &str) {
        for task in self.claims_of(member) {
            if may_start_again(&task) {
                self.record(Event::TaskReleased {
                    task: task.id,
                    note: why.into(),
                    taken_from: None,
                    releases: task.releases,
                });
            } else {
                self.fail_lost(&task, why);
            }
        }
    }

    /// Releases a claimed task on request. The former owner does not claim the task again on its own. A task that its
    /// owners have released [`RELEASES_MAX`] times fails, so that it is not claimed and released forever.
    pub(super) fn release_claim(&mut self, by: &Party, task: &Task, note: Arc<str>) {
        if !may_start_again(task) {
            let note = &note[..note.floor_char_boundary(NOTE_MAX)];
            let why = match note.is_empty() {
                true => format!("{by} released it"),
                false => format!("{by} released it: {note}"),
            };
            return self.fail_unrepeatable(task, &why);
        }
        let by_owner = matches!(by, Party::Member(_)) && task.owner() == Some(by);
        let releases = task.releases + u32::from(by_owner);
        if releases >= RELEASES_MAX {
            let note = &note[..note.floor_char_boundary(NOTE_MAX)];
            let reason = format!("released {releases} times by its owners; the last note: {note}");
            self.record(Event::TaskFailed {
                task: task.id,
                reason: reason.as_str().into(),
            });
            return self.notify_result(task, "failed", &reason, None);
        }
        let taken_from = match task.owner() {
            Some(Party::Member(owner)) => Some(owner.clone()),
            Some(Party::User | Party::System) | None => None,
        };
        self.record(Event::TaskReleased {
            task: task.id,
            note: note.clone(),
            taken_from,
            releases,
        });
        if by_owner {
            self.notify_result(task, "was released", &note, Some(by));
        }
    }

    /// Removes the assignee from pending tasks of a member that leaves, so that other members can claim them. Tasks of
    /// the team file keep their assignee.
    pub(super) fn free_tasks_for(&mut self, member: &MemberName) {
        let tasks = self.team.board.iter().filter(|task| {
            task.spec.assignee.as_ref() == Some(member)
                && !task.spec.from_file
                && matches!(task.state, TaskState::Pending { .. })
        });
        let tasks: Vec<(TaskId, TaskSpec)> =
            tasks.map(|task| (task.id, task.spec.clone())).collect();
        for (task, spec) in tasks {
            let spec = TaskSpec {
                assignee: None,
                ..spec
            };
            self.record(Event::TaskChanged { task, spec });
        }
    }

    fn fail_lost(&mut self, task: &Task, why: &str) {
        self.fail_unrepeatable(task, &format!("worker lost: {why}"));
    }

    fn fail_unrepeatable(&mut self, task: &Task, why: &str) {
        let reason = format!(
            "{why}. The task is not repeated automatically (rerun = false); run `{}` to start it again",
            CommandLine::RetryTask(task.id)
        );
        self.record(Event::TaskFailed {
            task: task.id,
            reason: reason.as_str().into(),
        });
        self.notify_result(task, "failed", &reason, None);
    }

    fn claims_of(&self, member: &MemberName) -> Vec<Task> {
        let owner = Party::Member(member.clone());
        self.team.board.claims(&owner).cloned().collect()
    }
}

/// Whether the task may be claimed again without a retry when its current claim ends.
fn may_start_again(task: &Task) -> bool {
    task.spec.rerun || !matches!(task.owner(), Some(Party::Member(_)))
}
