//! A turn of a conversation of Codex, and what waits for it. Used by `codex` and `turns`.

use tokio::sync::oneshot;

use super::super::outcome::TurnEnd;

/// A text for Codex.
pub(super) enum Taken {
    /// A prompt of the loop.
    Prompt,
    /// A message during a turn.
    Message(oneshot::Sender<bool>),
}

pub(super) struct Turn {
    pub(super) id: String,
    pub(super) ends: Vec<TurnEnd>,
    /// The loop follows the turn.
    pub(super) is_followed: bool,
    /// The message that the agent has written last, and whether its text was shown as it arrived.
    pub(super) message: Option<(String, bool)>,
}
