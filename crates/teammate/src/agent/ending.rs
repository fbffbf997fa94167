//! How a turn ends: with a report to the lead, or with the release of the task that the member still owns. Called by
//! the agent loop.
//!
//! ```text
//! answer without calls ── owns no task ──► report
//!        └── owns a task ── first time ──► reminder, next step
//!                └── second time, empty or refused too ──► release with the reason
//! ```
//! No end of a turn completes a task: only `complete_task` does. A model that cannot be asked, and one that has used
//! up its steps, releases its task with a note, so that a member never owns a task that it does not work on.

use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::method::{EndTask, MessageSend, Rest, SendMessage, TEXT_MAX, TaskRelease};
use agent_team_protocol::notification::Assignment;
use agent_team_protocol::view::Usage;
use agent_team_protocol::{Recipient, Refusal, with_causes};
use agent_team_terminal_ui::Tone;

use super::mind::{End, Mind, Turn};
use super::say;
use super::transcript::{Mark, without_middle};
use crate::model::{Answer, ModelError, Stop};
use crate::worker::{LastWords, refused};

/// Longest result, reason or report: what is cut out of a longer one is named, which takes some room.
pub(super) const WORDS_MAX: usize = TEXT_MAX - 256;

/// Whether the model was reminded of its task since it last called a tool, or the user or the lead wrote to it.
#[derive(Debug, Default)]
pub(super) struct Reminders {
    sent: bool,
}

impl Reminders {
    /// The model works, or has something new to answer: a later end of the turn is worth another reminder.
    pub(super) fn reset(&mut self) {
        self.sent = false;
    }

    /// True if a reminder is due now.
    fn remind(&mut self) -> bool {
        !std::mem::replace(&mut self.sent, true)
    }
}

impl Mind {
    /// Ends the turn with an answer without calls. It never completes a task: a model that still owns one is reminded,
    /// and releases it when it ends the turn again. `report` is the last text of this turn.
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
            self.inbox.note(say::CUT_OFF.into());
            return Ok(Turn::GoesOn);
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
            // The turn releases it, with the limit as the reason.
            return Ok(Turn::GoesOn);
        }
        if reminders.remind() {
            let line = format!("… {} is not completed: the model is reminded", task.task);
            self.screen.lines(Tone::Accent, &line);
            self.inbox.note(say::reminder(&task));
            return Ok(Turn::GoesOn);
        }
        let why = match stop {
            Stop::Refused => "stopped: its model refused to answer",
            _ if is_empty => "stopped: its model gave an empty answer",
            Stop::Finished | Stop::Calls | Stop::Length | Stop::Paused => {
                "ended its turn twice without complete_task, fail_task or release_task"
            }
        };
        self.let_go(why, report).await?;
        Ok(Turn::Over)
    }

    fn say_lost(&self, task: &Assignment, refusal: &Refusal) {
        let what = format!("{} is not taken as ended", task.task);
        self.screen.lines(Tone::Accent, &refused(&what, refusal));
    }

    /// There is no answer, and asking again does not help now.
    pub(super) async fn give_up(&mut self, error: &ModelError) -> Result<(), End> {
        let why = with_causes(error);
        let code = match error {
            ModelError::Unauthenticated { .. } => ExitCode::Denied,
            ModelError::UnknownModel { .. } | ModelError::Unrecorded(_) => ExitCode::NotFound,
            ModelError::TooLong(_)
            | ModelError::Busy { .. }
            | ModelError::Unreachable { .. }
            | ModelError::Nonsense { .. }
            | ModelError::Refused { .. } => {
                self.screen.lines(Tone::Accent, &format!("✗ {why}"));
                return self.let_go(&format!("cannot go on: {why}"), "").await;
            }
        };
        Err(End::Words(LastWords {
            code: code as u8,
            reason: why,
            hold: true,
        }))
    }

    /// Gives the task back, if there is one, and rests.
    pub(super) async fn let_go(&mut self, why: &str, report: &str) -> Result<(), End> {
        let mut said = why.to_owned();
        if !report.is_empty() {
            said.push_str(&format!(". Its last words: {report}"));
        }
        if let Some(task) = self.inbox.task().cloned() {
            let note = format!("{} {said}", self.desk.member);
            let released = self.desk.call::<TaskRelease>(&ending(&task, &note)).await;
            match released {
                Ok(_) => said.push_str(&format!("\nIt has given {} back.", task.task)),
                Err(refusal) => self.say_lost(&task, &refusal),
            }
            self.shared.claims.forget(task.task, task.generation);
        }
        let line = format!("✗ {why}");
        self.screen.lines(Tone::Accent, &line);
        self.tell_the_person(&said).await;
        self.rest(format!("{} {said}", self.desk.member)).await
    }

    /// The lead hears of it by the report.
    async fn tell_the_person(&self, text: &str) {
        let message = SendMessage {
            to: Recipient::User,
            text: without_middle(text.to_owned(), WORDS_MAX),
            urgent: false,
            reply_to: None,
            summary: None,
            wants_reply: false,
        };
        if let Err(refusal) = self.desk.call::<MessageSend>(&message).await {
            self.screen
                .lines(Tone::Accent, &refused("not told to you", &refusal));
        }
    }

    pub(super) async fn rest(&mut self, report: String) -> Result<(), End> {
        let report = without_middle(report, WORDS_MAX);
        self.append_mark(Mark::Rested, Usage::default(), Some(Rest { report }))
            .await
    }
}

fn ending(task: &Assignment, text: &str) -> EndTask {
    EndTask {
        task: task.task,
        generation: Some(task.generation),
        text: without_middle(text.to_owned(), WORDS_MAX),
    }
}
