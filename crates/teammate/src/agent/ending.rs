//! How a turn ends: the task completed with the model's last words, or those words reported. Called by the mind.
//!
//! A model that cannot be asked any more, and one that has used up its steps, gives its task back with a note: it never
//! holds what it does not work on. What came of either is its report, which reaches the lead; the next input tries
//! again.

use agent_team_face::Tone;
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::method::{
    EndTask, MessageSend, Rest, SendMessage, TEXT_MAX, TaskComplete, TaskRelease,
};
use agent_team_protocol::notification::Assignment;
use agent_team_protocol::view::Usage;
use agent_team_protocol::{ErrorCode, Recipient, Refusal, with_causes};

use super::inbox::Interruption;
use super::mind::{End, Mind, Turn};
use super::say;
use super::transcript::{Mark, without_middle};
use crate::model::{Answer, ModelError, Stop};
use crate::worker::{LastWords, refused};

/// Longest result, reason or report: what is cut out of a longer one is named, which takes some room.
pub(super) const WORDS_MAX: usize = TEXT_MAX - 256;

impl Mind {
    /// Ends the turn with an answer without calls, unless its task does not count as completed. `report` is the last
    /// thing that was said in this turn.
    pub(super) async fn conclude(
        &mut self,
        answer: Answer,
        report: &str,
        is_last: bool,
    ) -> Result<Turn, End> {
        let stop = answer.stop;
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
        if let Some(turn) = self.verified(&task).await? {
            return Ok(turn);
        }
        let claim = ending(&task, report);
        match self.desk.call::<TaskComplete>(&claim).await {
            Ok(_) => {
                let line = format!("✓ {} completed", task.task);
                self.screen.lines(Tone::Accent, &line);
            }
            Err(refusal) if is_lost(&refusal) => self.say_lost(&task, &refusal),
            Err(refusal) => {
                self.not_completed(&task, &refusal.message);
                return Ok(Turn::GoesOn);
            }
        }
        self.shared.claims.forget(task.task, task.generation);
        // The lead hears of the task's end without us.
        if !self.inbox.has_task() {
            self.rest(String::new()).await?;
        }
        Ok(Turn::Over)
    }

    /// `None` when nothing stands against completing the task.
    async fn verified(&mut self, task: &Assignment) -> Result<Option<Turn>, End> {
        let Some(line) = &task.verify else {
            return Ok(None);
        };
        let verified = tokio::select! {
            biased;
            verified = self.shared.verify.verify(task.task, line) => Ok(verified),
            interruption = self.inbox.interruption() => Err(interruption),
        };
        match verified {
            Ok(Ok(())) => Ok(None),
            Ok(Err(output)) => {
                self.not_completed(task, &format!("`{line}` did not exit 0: {output}"));
                Ok(Some(Turn::GoesOn))
            }
            Err(Interruption::Stop { .. }) => Err(End::Stopped),
            Err(Interruption::Hear(_)) => Ok(Some(Turn::GoesOn)),
        }
    }

    fn not_completed(&mut self, task: &Assignment, why: &str) {
        let first = why.lines().next().unwrap_or_default();
        let line = format!("✗ {} is not completed: {first}", task.task);
        self.screen.lines(Tone::Accent, &line);
        self.inbox.note(say::not_completed(task, why));
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

/// The claim is not this member's any more, so there is nothing to mend.
fn is_lost(refusal: &Refusal) -> bool {
    matches!(
        refusal.code,
        ErrorCode::StaleClaim
            | ErrorCode::NotOwner
            | ErrorCode::WrongState
            | ErrorCode::UnknownTask
    )
}
