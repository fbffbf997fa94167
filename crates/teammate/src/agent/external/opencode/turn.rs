//! A turn of a conversation of OpenCode, and the texts of this client. Used by `opencode` and its other files.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::outcome::{Outcome, TurnEnd};

/// A text of this client that the conversation does not contain yet.
pub(super) struct Sent {
    pub(super) kind: SentKind,
    /// Set once the server has accepted the text: the conversation must contain it before.
    pub(super) deadline: Option<Instant>,
}

pub(super) enum SentKind {
    /// A prompt of the loop.
    Prompt(TurnEnd),
    /// A message during a turn.
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
    /// The calls that are shown.
    pub(super) calls: HashSet<String>,
    /// Why the last answer of the model has failed.
    pub(super) failure: Option<Outcome>,
    /// Why the last answer of the model has ended.
    pub(super) finish: Value,
    /// The user has rejected a call without a reason, which ends the turn.
    pub(super) is_rejected: bool,
    /// When the turn ends although an answer is not complete.
    pub(super) settles_at: Option<Instant>,
    /// The number of heartbeats at which the server had no turn.
    pub(super) idle_beats: u32,
}

/// A text or a thought of the agent.
pub(super) struct Text {
    pub(super) is_thought: bool,
    /// The number of bytes that were shown.
    pub(super) shown: usize,
}
