//! A turn of Qwen Code, and the texts of the worker that Qwen Code has not taken yet. Used by `qwen` and `turns`.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::outcome::TurnEnd;

/// A text that was submitted.
pub(super) struct SentText {
    pub(super) text: String,
    pub(super) kind: SentKind,
    /// The time at which the text counts as lost.
    pub(super) lost_at: Option<Instant>,
}

pub(super) enum SentKind {
    /// A prompt of the loop. The sender reports the end of its turn.
    Prompt(TurnEnd),
    /// A message during a turn. The sender reports whether Qwen Code has taken the message.
    Message(oneshot::Sender<bool>),
    /// The reason of a denial, with which the turn continues.
    Reason,
}

#[derive(Default)]
pub(super) struct Turn {
    pub(super) ends: Vec<TurnEnd>,
    /// The time at which Qwen Code has taken the last text of the turn, by its own clock. Empty: unknown.
    pub(super) began: String,
    /// Qwen Code has reported the end of the turn, but not its last answer.
    pub(super) is_stopped: bool,
    /// The time at which the turn counts as ended.
    pub(super) settles_at: Option<Instant>,
    /// The length of the record at the beginning of the turn.
    pub(super) record_length: u64,
}

impl Turn {
    pub(super) fn resumes(&mut self) {
        (self.is_stopped, self.settles_at) = (false, None);
    }
}
