//! How a turn ends: with a report to the lead, or with the release of the task that the member still owns. Called by
//! the agent loop.
//!
//! ```text
//! unusable answer ── the first two in a row ──► note, next step
//!                 └── the third ──► release with the reason
//! answer without calls
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
use super::transcript::Mark;
use super::{prompts, text_calls};
use crate::worker::{ExitReport, refused};

/// The longest text that is sent to the supervisor in full, in bytes. Smaller than the supervisor's limit, to leave
/// room for the note about omitted bytes.
pub(super) const UNCUT_MAX: usize = TEXT_MAX - 256;

/// The longest reason for the end of a turn, in bytes: one line of `why` and `ps`.
const FAILURE_MAX: usize = 1024;

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

/// Why an answer can be neither executed nor taken as the end of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    Empty,
    /// The model or its provider's filter refused to answer.
    Refused,
    /// The answer reached the length limit. The arguments of its calls may be incomplete.
    Truncated,
    /// The text contains a call that is not well formed, or a call together with other text.
    WrittenCall,
}

/// How often the model is asked again after an unusable answer.
pub(super) const RETRIES: u32 = 2;

impl Unusable {
    /// `may_be_empty`: the turn has made calls and the member owns no task, so an empty answer ends the turn.
    /// `parses_calls`: the API parses calls, so a call in the text is only text.
    pub(super) fn of(answer: &Answer, may_be_empty: bool, parses_calls: bool) -> Option<Self> {
        match answer.stop {
            Stop::Refused => Some(Self::Refused),
            Stop::Length => Some(Self::Truncated),
            Stop::Paused => None,
            Stop::Finished | Stop::Calls if !answer.calls.is_empty() => None,
            Stop::Finished | Stop::Calls if answer.text.trim().is_empty() => {
                (!may_be_empty).then_some(Self::Empty)
            }
            Stop::Finished | Stop::Calls => {
                let has_call = !parses_calls && text_calls::has_call(&answer.text);
                has_call.then_some(Self::WrittenCall)
            }
        }
    }

    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Empty => "its model gave an empty answer",
            Self::Refused => "its model, or the filter of its provider, refused to answer",
            Self::Truncated => "the answer of its model reached the length limit",
            Self::WrittenCall => "its model wrote a tool call as text",
        }
    }

    /// The note that asks the model again. `has_calls`: the results of the answer's calls already ask it.
    fn note(self, has_calls: bool) -> Option<&'static str> {
        match self {
            _ if has_calls => None,
            Self::Empty => Some(prompts::EMPTY_ANSWER),
            Self::Refused => Some(prompts::REFUSED_ANSWER),
            Self::Truncated => Some(prompts::TRUNCATED_ANSWER),
            Self::WrittenCall => Some(prompts::WRITTEN_CALL),
        }
    }
}

/// Counts unusable answers in a row.
#[derive(Debug, Default)]
pub(super) struct Retries {
    used: u32,
}

impl Retries {
    pub(super) fn reset(&mut self) {
        self.used = 0;
    }
}

/// Whether the turn continues after a step.
pub(super) enum Turn {
    Continues,
    Over,
    /// The turn must end for this reason, and the task must be released.
    GivenUp(String),
}

impl Conversation {
    /// Handles an unusable answer that is already stored: asks the model again, or gives up.
    pub(super) fn retry(
        &mut self,
        unusable: Unusable,
        has_calls: bool,
        retries: &mut Retries,
        is_last: bool,
    ) -> Turn {
        if is_last {
            // The agent loop releases the task, because the step limit is reached.
            return Turn::Continues;
        }
        let reason = unusable.reason();
        if retries.used >= RETRIES {
            let answers = retries.used + 1;
            return Turn::GivenUp(format!(
                "stopped after {answers} unusable answers: {reason}"
            ));
        }
        retries.used += 1;
        self.sink.lines(
            Tone::Runtime,
            &format!(
                "… {reason}: the model is asked again ({} of {RETRIES})",
                retries.used
            ),
        );
        if let Some(note) = unusable.note(has_calls) {
            self.inbox.note(note.to_owned());
        }
        Turn::Continues
    }

    /// Handles an answer without calls, which ends the turn. A member that still owns a task is reminded first; if its
    /// model ends the turn again, the task is released. `report` is the last text of this turn.
    pub(super) async fn conclude(
        &mut self,
        answer: Answer,
        report: &str,
        reminders: &mut Reminders,
        is_last: bool,
    ) -> Result<Turn, End> {
        self.store_answer(answer).await?;
        let Some(task) = self.inbox.task().cloned() else {
            self.finish_turn(report.to_owned()).await?;
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
        let why = "ended its turn twice without complete_task, fail_task or release_task";
        Ok(Turn::GivenUp(why.to_owned()))
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
                    .release_and_finish_turn(&format!("cannot continue: {why}"), "")
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
            // The call fails if the team is stopping: show nothing.
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
    pub(super) async fn release_and_finish_turn(
        &mut self,
        why: &str,
        report: &str,
    ) -> Result<(), End> {
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
        let report = format!("{} {account}", self.client.member);
        self.end_turn(report, Some(why.to_owned())).await
    }

    /// Sends a message to the user. The lead receives the same text as the turn's report.
    pub(super) async fn message_user(&self, text: &str) {
        let message = SendMessage {
            to: Recipient::User,
            text: without_middle(text.to_owned(), UNCUT_MAX),
            urgent: false,
            reply_to: None,
            summary: None,
            wants_reply: false,
            attach_outside: false,
        };
        if let Err(refusal) = self.client.call::<MessageSend>(&message).await {
            self.sink.lines(
                Tone::Runtime,
                &refused("cannot send you a message", &refusal),
            );
        }
    }

    /// Ends the turn. `report` is for the lead; empty: nothing to report.
    pub(super) async fn finish_turn(&mut self, report: String) -> Result<(), End> {
        self.end_turn(report, None).await
    }

    /// `failure`: why the turn could not continue, if its model did not end it.
    async fn end_turn(&mut self, report: String, failure: Option<String>) -> Result<(), End> {
        let turn_end = TurnEnd {
            report: without_middle(report, UNCUT_MAX),
            failure: failure.map(|failure| without_middle(failure, FAILURE_MAX)),
        };
        self.append_mark(Mark::Rested, Usage::default(), Some(turn_end))
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
