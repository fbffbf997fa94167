//! How a turn ends: with a report to the lead, or with the release of the task that the member still owns. Called by
//! the agent loop.
//!
//! ```text
//! answer without calls ── cut off at the length limit ──► note, next step
//!     ├── the member owns no task ──► report
//!     └── the member owns a task ── first time ──► reminder, next step
//!                                └── second time ──► release with the reason
//! ```
//! The end of a turn never completes a task: only `complete_task` does. When the model fails, or has used up its steps,
//! the task is released with a note, so that a member never owns a task that it does not work on.

use agent_team_llm::{Answer, ModelError, Stop};
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::method::{
    EndTask, MessageSend, Nothing, SendMessage, TEXT_MAX, TaskRelease, TeamShow, TurnEnd,
};
use agent_team_protocol::notification::Assignment;
use agent_team_protocol::status::Status;
use agent_team_protocol::view::{RunState, Usage};
use agent_team_protocol::{Recipient, Refusal, with_causes};
use agent_team_terminal_ui::Tone;
use agent_team_tools::team::without_middle;

use super::conversation::{Conversation, End};
use super::prompts;
use super::transcript::Mark;
use crate::worker::{ExitReport, refused};

/// The longest text that is sent to the supervisor in full, in bytes. It is smaller than the supervisor's limit, which
/// leaves room for the note about omitted bytes.
pub(super) const UNCUT_MAX: usize = TEXT_MAX - 256;

/// Whether the model has been reminded of its task since its last tool call or new work. New work is a task, or a
/// message of the user or the lead.
#[derive(Debug, Default)]
pub(super) struct Reminders {
    sent: bool,
}

impl Reminders {
    /// Called after a tool call and after new work: the next answer without calls gets a reminder again.
    pub(super) fn reset(&mut self) {
        self.sent = false;
    }

    /// Returns whether a reminder is due, and records that it is sent.
    fn remind(&mut self) -> bool {
        !std::mem::replace(&mut self.sent, true)
    }
}

/// Whether the turn continues after a step.
pub(super) enum Turn {
    Continues,
    Over,
}

impl Conversation {
    /// Handles an answer without calls, which ends the turn unless it was cut off. A member that still owns a task is
    /// reminded first; if its model ends the turn again, the task is released. `report` is the last text of this turn.
    pub(super) async fn conclude(
        &mut self,
        answer: Answer,
        report: &str,
        reminders: &mut Reminders,
        is_last: bool,
    ) -> Result<Turn, End> {
        let (stop, is_empty) = (answer.stop, answer.text.trim().is_empty());
        self.store_answer(answer).await?;
        if stop == Stop::Length && !is_last {
            self.inbox.note(prompts::TRUNCATED_ANSWER.into());
            return Ok(Turn::Continues);
        }
        let Some(task) = self.inbox.task().cloned() else {
            let report = match (report.trim(), stop) {
                ("", Stop::Refused) => "The model refused to answer.",
                (report, _) => report,
            };
            self.rest(report.to_owned()).await?;
            return Ok(Turn::Over);
        };
        if is_last {
            // The agent loop releases the task, because the step limit is reached.
            return Ok(Turn::Continues);
        }
        if reminders.remind() {
            let line = format!("… {} is not completed: the model is reminded", task.task);
            self.sink.lines(Tone::Runtime, &line);
            self.inbox.note(prompts::reminder(&task));
            return Ok(Turn::Continues);
        }
        let why = match stop {
            Stop::Refused => "stopped: its model refused to answer",
            _ if is_empty => "stopped: its model gave an empty answer",
            Stop::Finished | Stop::Calls | Stop::Length | Stop::Paused => {
                "ended its turn twice without complete_task, fail_task or release_task"
            }
        };
        self.release_and_rest(why, report).await?;
        Ok(Turn::Over)
    }

    fn show_refusal(&self, task: &Assignment, refusal: &Refusal) {
        let what = format!("cannot end {}", task.task);
        self.sink.lines(Tone::Runtime, &refused(&what, refusal));
    }

    /// Ends the turn after a model error that is not retried or that has exhausted its retries. The member is held if
    /// the user must first correct its key, model or recording.
    pub(super) async fn give_up(&mut self, error: &ModelError) -> Result<(), End> {
        let why = with_causes(error);
        let code = match error {
            ModelError::Unauthenticated { .. } => ExitCode::Denied,
            ModelError::UnknownModel { .. } | ModelError::Unrecorded(_) => ExitCode::NotFound,
            ModelError::TooLong(_)
            | ModelError::Busy { .. }
            | ModelError::Unreachable { .. }
            | ModelError::InvalidResponse { .. }
            | ModelError::Refused { .. } => {
                self.sink.lines(Tone::Runtime, &format!("✗ {why}"));
                return self
                    .release_and_rest(&format!("cannot continue: {why}"), "")
                    .await;
            }
        };
        Err(End::Report(ExitReport {
            code: code as u8,
            reason: why,
            hold: true,
        }))
    }

    /// Shows the end of the goal, with its answer, after the results of the calls of the same step. The supervisor
    /// notifies the user, and reports all other ends of a goal.
    pub(super) async fn show_goal_end(&self, answer: &str) {
        let Ok(team) = self.client.call::<TeamShow>(&Nothing {}).await else {
            // The team is going down.
            return;
        };
        let Some(goal) = team.goal.filter(|goal| goal.state != RunState::UnderWay) else {
            return;
        };
        let (sign, headline) = (status_of(goal.state).sign(), goal.headline());
        self.sink
            .lines(Tone::Runtime, &format!("{sign} {headline}"));
        self.sink.markdown(answer);
    }

    /// Releases the task, if any, and ends the turn.
    pub(super) async fn release_and_rest(&mut self, why: &str, report: &str) -> Result<(), End> {
        let mut account = why.to_owned();
        if !report.is_empty() {
            account.push_str(&format!(". Its last text: {report}"));
        }
        if let Some(task) = self.inbox.task().cloned() {
            let note = format!("{} {account}", self.client.member);
            let released = self.client.call::<TaskRelease>(&ending(&task, &note)).await;
            match released {
                Ok(_) => account.push_str(&format!("\nIt has released {}.", task.task)),
                Err(refusal) => self.show_refusal(&task, &refusal),
            }
            self.shared.claims.forget(task.task, task.generation);
        }
        let line = format!("✗ {why}");
        self.sink.lines(Tone::Runtime, &line);
        self.message_user(&account).await;
        self.rest(format!("{} {account}", self.client.member)).await
    }

    /// Sends a message to the user. The lead receives the same text as the turn's report.
    async fn message_user(&self, text: &str) {
        let message = SendMessage {
            to: Recipient::User,
            text: without_middle(text.to_owned(), UNCUT_MAX),
            urgent: false,
            reply_to: None,
            summary: None,
            wants_reply: false,
        };
        if let Err(refusal) = self.client.call::<MessageSend>(&message).await {
            self.sink.lines(
                Tone::Runtime,
                &refused("cannot send you a message", &refusal),
            );
        }
    }

    /// Ends the turn. `report` is for the lead; empty: nothing to report.
    pub(super) async fn rest(&mut self, report: String) -> Result<(), End> {
        let report = without_middle(report, UNCUT_MAX);
        self.append_mark(Mark::Rested, Usage::default(), Some(TurnEnd { report }))
            .await
    }
}

/// The status of a goal that has ended.
pub(super) fn status_of(state: RunState) -> Status {
    match state {
        RunState::Finished => Status::Success,
        RunState::UnderWay
        | RunState::MaxRounds
        | RunState::Failed
        | RunState::Cancelled
        | RunState::Abandoned
        | RunState::Unknown => Status::Failure,
    }
}

fn ending(task: &Assignment, text: &str) -> EndTask {
    EndTask {
        task: task.task,
        generation: Some(task.generation),
        text: without_middle(text.to_owned(), UNCUT_MAX),
    }
}
