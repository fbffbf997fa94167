//! A turn of a conversation of OpenCode, and the worker's texts. Used by `opencode` and its other files.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::outcome::{Outcome, TurnEnd};

/// A text of the worker that the conversation does not contain yet.
pub(super) struct Sent {
    pub(super) kind: SentKind,
    /// The time at which the conversation must contain the text. Set once the server has accepted the text.
    pub(super) deadline: Option<Instant>,
}

pub(super) enum SentKind {
    /// A prompt of the loop.
    Prompt(TurnEnd),
    /// A message during a turn. The sender reports that the conversation contains the message.
    Message(oneshot::Sender<bool>),
}

#[derive(Default)]
pub(super) struct Turn {
    pub(super) ends: Vec<TurnEnd>,
    /// The loop follows the turn.
    pub(super) is_followed: bool,
    /// The answers of the model that have begun and are not complete.
    pub(super) open_answers: HashSet<String>,
    /// The texts and thoughts, by the ids of their parts.
    pub(super) texts: HashMap<String, Text>,
    /// The agent has written text since its last call.
    pub(super) has_text: bool,
    /// The calls that are shown and have not ended.
    pub(super) calls: HashSet<String>,
    /// Why the last answer of the model has failed.
    pub(super) failure: Option<Outcome>,
    /// The reason with which the last answer of the model has ended.
    pub(super) finish: Value,
    /// The user has rejected a call without a reason, which ends the turn.
    pub(super) is_rejected: bool,
    /// The time at which the turn ends although an answer is not complete.
    pub(super) settles_at: Option<Instant>,
    /// The number of consecutive heartbeats at which the server ran no turn of the conversation.
    pub(super) idle_beats: u32,
}

/// A text or a thought of the agent.
pub(super) struct Text {
    pub(super) is_thought: bool,
    /// The number of bytes that were shown.
    pub(super) shown: usize,
}
