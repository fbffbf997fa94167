//! A turn of a conversation of Codex, and the texts that wait for it. Used by `codex` and `turns`.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::outcome::TurnEnd;

/// A text for Codex, until the conversation contains it.
pub(super) enum Taken {
    /// A prompt of the loop.
    Prompt,
    /// A message during a turn. The sender reports that the conversation contains the message.
    Message(oneshot::Sender<bool>),
}

pub(super) struct Turn {
    pub(super) id: String,
    pub(super) ends: Vec<TurnEnd>,
    /// The loop follows the turn.
    pub(super) is_followed: bool,
    /// The id of the agent's last message, and whether parts of its text were already shown.
    pub(super) message: Option<(String, bool)>,
    /// The time at which Codex must have reported the turn, or its end. `None`: Codex has reported the running turn.
    pub(super) deadline: Option<Instant>,
}
