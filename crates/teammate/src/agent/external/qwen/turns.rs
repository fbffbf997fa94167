//! The turns of Qwen Code, and the texts of the worker in them. Called by `qwen`.
//!
//! ```text
//! a text is submitted ──► reported as a prompt, or within UserPromptSubmit: taken
//! Stop, then the last answer ──► the end of the turn
//! StopFailure ──► failed
//! idle without Stop ──► ended by the user, or by the denial of a dialog
//! ```
//! The denial of a dialog ends the turn of Qwen Code, and takes no reason. After a denial by agent-team, the worker
//! submits the reason as a message, with which the same turn continues.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use agent_team_protocol::text::visible_line;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::channel::{Began, Event, TurnError};
use super::super::wire::{PromptEnd, SessionUpdate, StopReason};
use super::Qwen;
use super::turn::{SentKind, SentText, Turn};

/// The time after the end of a turn within which Qwen Code takes a text that it has received during the turn.
/// Afterwards, the text has returned to the prompt line of Qwen Code.
const LOST_LIMIT: Duration = Duration::from_secs(3);

/// The time within which the reason of a failure follows the report that Qwen Code is idle.
const FAILURE_LIMIT: Duration = Duration::from_secs(1);

/// The time after the end of a turn within which the last answer arrives, or within which the turn continues with the
/// reason of a denial.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// The largest part of the record of a session that is searched, in bytes.
const RECORD_MAX: u64 = 16 << 20;

impl Qwen {
    /// Handles a prompt that Qwen Code has taken.
    pub(super) fn submitted(&mut self, prompt: &str) {
        let continues = self
            .sent
            .iter()
            .any(|sent| matches!(sent.kind, SentKind::Reason) && prompt.contains(&*sent.text));
        if continues {
            if let Some(turn) = &mut self.turn {
                turn.began.clear();
                turn.resumes();
            }
        } else if self.turn.is_some() {
            // Qwen Code has not reported the end of this turn.
            self.finish(Ok(StopReason::Interrupted));
        }
        if !self.taken(prompt) && self.turn.is_none() {
            self.turn_began(prompt.to_owned());
        }
    }

    /// Handles `UserPromptSubmit`, which also reports messages that join the turn.
    pub(super) fn prompted(&mut self, prompt: &str, timestamp: String) {
        if !prompt.is_empty() && !self.taken(prompt) && self.turn.is_none() {
            self.turn_began(prompt.to_owned());
        }
        if let Some(turn) = &mut self.turn {
            turn.began = timestamp;
            turn.resumes();
            self.send_reasons();
        }
    }

    /// Handles the texts of the worker in a prompt. Returns whether the prompt contains such a text.
    fn taken(&mut self, prompt: &str) -> bool {
        let (taken, sent) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition(|sent| prompt.contains(&*sent.text));
        self.sent = sent;
        let taken: Vec<SentText> = taken;
        let is_any = !taken.is_empty();
        let mut is_followed = self.turn.is_some();
        for sent in taken {
            match sent.kind {
                SentKind::Prompt(end) => {
                    self.turn_mut().ends.push(end);
                    is_followed = true;
                    self.ready.push_back(Event::Accepted);
                }
                // The receiver is gone if the loop has ended its turn.
                SentKind::Message(taken) => drop(taken.send(true)),
                SentKind::Reason => {}
            }
        }
        if is_any && !is_followed {
            self.turn_began(String::new());
        }
        is_any
    }

    fn turn_mut(&mut self) -> &mut Turn {
        let record_length = std::fs::metadata(&self.record).map_or(0, |record| record.len());
        self.turn.get_or_insert_with(|| Turn {
            record_length,
            ..Turn::default()
        })
    }

    /// Reports a turn that the loop has not begun.
    pub(super) fn turn_began(&mut self, text: String) {
        let (end, ended) = oneshot::channel();
        self.turn_mut().ends.push(end);
        let end = Box::pin(async move { ended.await.unwrap_or(Err(TurnError::Closed)) });
        self.ready.push_back(Event::Began(Began { text, end }));
    }

    /// Handles the beginning of an answer of the model.
    pub(super) fn answers(&mut self) {
        match &mut self.turn {
            Some(turn) => turn.resumes(),
            // A turn can begin without a prompt, for example after a hook of the user has prevented the end of a turn.
            None => self.turn_began(String::new()),
        }
    }

    /// Handles the end of an answer of the model.
    pub(super) fn answered(&mut self) {
        if self.turn.as_ref().is_some_and(|turn| turn.is_stopped) {
            self.finish(Ok(self.end_reason()));
        }
    }

    /// Handles `Stop`. Qwen Code reports the last answer after it.
    pub(super) fn stopped(&mut self, event: &Value) {
        let size = |field: &str| event[field].as_u64();
        if let (Some(used), Some(size)) = (size("input_tokens"), size("context_limit")) {
            let cost = None;
            self.update(SessionUpdate::UsageUpdate { used, size, cost });
        }
        if let Some(turn) = &mut self.turn {
            turn.is_stopped = true;
            turn.settles_at = Some(Instant::now() + SETTLE_LIMIT);
        }
    }

    /// Handles `StopFailure`.
    pub(super) fn failed(&mut self, why: &str) {
        if self.turn.is_some() {
            let why = visible_line(why).into_owned();
            self.finish(Err(TurnError::Failed(why)));
        }
    }

    fn end_reason(&self) -> StopReason {
        match self.is_cancelled {
            true => StopReason::Cancelled,
            false => StopReason::EndTurn,
        }
    }

    /// Handles the report that Qwen Code was idle at this time.
    pub(super) fn idle(&mut self, timestamp: &str) {
        let was_awaited = std::mem::take(&mut self.awaits_idle);
        let Some(turn) = &mut self.turn else {
            return;
        };
        let is_earlier = match turn.began.is_empty() {
            true => was_awaited,
            false => timestamp < &*turn.began,
        };
        if is_earlier {
            // The hook program of an earlier turn has sent this report late.
            return;
        }
        if turn.is_stopped {
            let reason = self.end_reason();
            self.finish(Ok(reason));
        } else if self.is_cancelled {
            self.finish(Ok(StopReason::Cancelled));
        } else if self.calls.has_dialog() {
            self.finish(Ok(StopReason::Interrupted));
        } else if !self.reasons.is_empty() {
            turn.settles_at = Some(Instant::now() + SETTLE_LIMIT);
            self.send_reasons();
        } else {
            turn.settles_at = Some(Instant::now() + FAILURE_LIMIT);
        }
        self.awaits_idle = false;
    }

    fn send_reasons(&mut self) {
        if !self.reasons.is_empty() {
            let reasons = std::mem::take(&mut self.reasons).join("\n");
            self.submit(&reasons, SentKind::Reason);
        }
    }

    pub(super) fn finish(&mut self, result: Result<StopReason, TurnError>) {
        let contradiction = self.calls.clear();
        self.contradicted(contradiction);
        self.reasons.clear();
        self.is_cancelled = false;
        let Some(turn) = self.turn.take() else {
            return;
        };
        self.awaits_idle = true;
        self.find_joined(turn.record_length);
        let lost_at = Instant::now() + LOST_LIMIT;
        for sent in &mut self.sent {
            sent.lost_at.get_or_insert(lost_at);
        }
        for end in turn.ends {
            let result = match &result {
                Ok(reason) => Ok(PromptEnd::without_usage(*reason)),
                Err(TurnError::Failed(why)) => Err(TurnError::Failed(why.clone())),
                Err(TurnError::Closed) => Err(TurnError::Closed),
            };
            // The receiver is gone if the loop does not follow this turn, because it has joined another turn.
            let _unfollowed = end.send(result);
        }
        // Returns control to the loop before the next turn begins: the loop must notice the end first.
        self.update(SessionUpdate::Other);
    }

    /// Handles messages that the record of the session contains: Qwen Code does not report a message that joins a turn
    /// after the last call of the turn.
    fn find_joined(&mut self, begin: u64) {
        if self.sent.is_empty() {
            return;
        }
        // If the record is unreadable, the messages count as lost, and are sent again.
        let record = record_after(&self.record, begin).unwrap_or_default();
        let sent = std::mem::take(&mut self.sent).into_iter();
        for sent in sent {
            let text = Value::from(&*sent.text).to_string();
            match (record.contains(text.trim_matches('"')), sent.kind) {
                (true, SentKind::Message(taken)) => drop(taken.send(true)),
                (true, SentKind::Reason) => {}
                (_, kind) => self.sent.push(SentText { kind, ..sent }),
            }
        }
    }

    /// The time at which [`Qwen::overdue`] must be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let settles = self.turn.as_ref().and_then(|turn| turn.settles_at);
        let lost = self.sent.iter().filter_map(|sent| sent.lost_at);
        lost.chain(settles).min()
    }

    pub(super) fn overdue(&mut self, now: Instant) {
        let is_over = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if let Some(turn) = &self.turn
            && is_over(turn.settles_at)
        {
            let reason = match turn.is_stopped {
                true => self.end_reason(),
                false => StopReason::Interrupted,
            };
            return self.finish(Ok(reason));
        }
        let (lost, sent) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition(|sent| is_over(sent.lost_at));
        self.sent = sent;
        let lost: Vec<SentText> = lost;
        for sent in lost {
            match sent.kind {
                SentKind::Prompt(_) => {
                    let written = self.commands.submit(&sent.text);
                    let lost_at = None;
                    self.sent.push(SentText { lost_at, ..sent });
                    self.written(written);
                }
                SentKind::Message(taken) => drop(taken.send(false)),
                SentKind::Reason => {}
            }
        }
    }
}

/// The part of the record after this length.
fn record_after(record: &Path, begin: u64) -> std::io::Result<String> {
    let mut file = std::fs::File::open(record)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(
        begin.max(length.saturating_sub(RECORD_MAX)),
    ))?;
    let mut end = Vec::new();
    file.take(RECORD_MAX).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).into_owned())
}
