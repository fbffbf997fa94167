//! Ends a run without an answer in two cases: the user cancels its goal, or a caller waits for the run although the run
//! cannot end by itself. The module `rounds` ends a run in rounds if the run cannot continue.
//!
//! Cancelling leaves the members up, unless the run was started with `then_down`. It cancels every open task that
//! members or rounds added during the run; the user's own tasks stay as they are.

use agent_team_protocol::id::{Party, RunId};
use agent_team_protocol::value::{MessageNote, RunFailure};

use super::{CallResult, Decider, TEXT_MAX, check_size};
use crate::input::Origin;
use crate::refusal::Refused;
use crate::team::answers::Answer;
use crate::team::event::Event;
use crate::team::run::Run;
use crate::team::task::{Task, TaskState};

impl Decider<'_> {
    pub(super) fn cancel_run(&mut self, reason: &str) -> CallResult {
        check_size("the reason", reason, TEXT_MAX)?;
        let under_way = self.team.run.as_ref().filter(|run| run.is_under_way());
        let run = under_way.ok_or(Refused::NoRun)?;
        let id = run.id;
        let tasks = self.tasks_of(run);
        for task in &tasks {
            self.record(Event::TaskCancelled { task: task.id });
            self.abandon(&Origin::User, task, "the user cancelled the goal");
        }
        // End the round before its run: `Run::round_under_way` finds no round in a run that has ended.
        self.end_round();
        let mut why = "cancelled by the user".to_owned();
        if !reason.trim().is_empty() {
            why.push_str(": ");
            why.push_str(reason.trim());
        }
        self.fail_run(id, RunFailure::Cancelled, why.clone());
        if let lead @ Party::Member(_) = self.lead() {
            let mut text = format!("The goal {id} is {why}. Stop working on it.");
            if !tasks.is_empty() {
                let ids: Vec<String> = tasks.iter().map(|task| task.id.to_string()).collect();
                text.push_str(&format!(" Cancelled with it: {}.", ids.join(", ")));
            }
            text.truncate(text.floor_char_boundary(TEXT_MAX));
            // An urgent message interrupts the model's work on the goal.
            let note = MessageNote::default();
            self.accept(Party::System, vec![lead], text.into(), true, None, note);
        }
        for task in &tasks {
            self.notify_cancelled(task, None);
        }
        let tasks = tasks.iter().map(|task| task.id).collect();
        Ok(Answer::Cancelled { run: id, tasks }.into())
    }

    /// Open tasks that members or rounds added during the run.
    fn tasks_of(&self, run: &Run) -> Vec<Task> {
        let is_open = |task: &&Task| match task.state {
            TaskState::Pending { .. } | TaskState::InProgress { .. } => true,
            TaskState::Failed { .. } | TaskState::Cancelled => false,
        };
        let tasks = self.team.board.iter().filter(is_open);
        let tasks = tasks.filter(|task| task.id >= run.first_task);
        let not_by_user = tasks.filter(|task| task.created_by != Party::User);
        not_by_user.cloned().collect()
    }

    /// Ends a run that cannot end by itself, so that the caller that waits for it gets its result, and the next goal
    /// starts a new run.
    pub(super) fn run_stuck(&mut self, run: RunId, reason: String) {
        let under_way = self.team.run.as_ref().filter(|it| it.is_under_way());
        if under_way.is_some_and(|under_way| under_way.id == run) {
            self.fail_run(run, RunFailure::Stuck, reason);
        }
    }
}
