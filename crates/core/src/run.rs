//! What a team of agents is about: the goal that the lead was given, what the members' models have said so far, and
//! what the team remembers.
//!
//! ```text
//!   RunStarted ──▶ under way ── RunFinished, by the lead ──▶ finished
//!                      ├─────── RunFailed, nobody can go on, or the user cancels it ──▶ failed
//!                      └─────── another goal takes its place ──▶ abandoned
//! ```
//! A run under way survives `down`: the next `up` goes on with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::{RunId, TaskId};

use crate::round::Round;
use crate::task::is_default;

/// One goal, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub id: RunId,
    pub goal: Arc<str>,
    pub state: RunState,
    /// Unix time in milliseconds.
    pub started_at: u64,
    /// The members end with it.
    pub then_down: bool,
    /// Where the team goes by rounds.
    pub rounds: Vec<Round>,
    /// The lead was told that everybody is idle, and nobody has worked since.
    pub(crate) told_idle: bool,
    /// Tasks from this number on were added during the run.
    pub(crate) first_task: TaskId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    UnderWay,
    Finished {
        answer: Arc<str>,
        /// Unix time in milliseconds.
        at: u64,
    },
    Failed {
        failure: Failure,
        reason: Arc<str>,
        at: u64,
    },
    Abandoned {
        at: u64,
    },
}

/// Why a run comes to no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    MaxRounds,
    /// Nobody can go on with it.
    Stuck,
    /// The user cancelled it.
    Cancelled,
}

/// What is known of a member's mind, which is kept elsewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mind {
    /// Items of the transcript so far.
    pub length: u64,
    #[serde(default)]
    pub spent: Spent,
    /// In the middle of a turn: she goes on by herself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub active: bool,
    /// The lead heard of her in this turn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reported: bool,
}

/// Tokens and money, of all answers so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    pub input: u64,
    pub output: u64,
    pub cached: u64,
    /// Millionths of a US dollar.
    pub micro_usd: u64,
    /// Tokens whose price nobody knows.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unpriced: u64,
}

impl Mind {
    /// The lead heard of her: which matters only within a turn.
    pub(crate) fn report(&mut self) {
        self.reported = self.active;
    }
}

impl Spent {
    pub(crate) fn less(self, before: Self) -> Self {
        Self {
            input: self.input.saturating_sub(before.input),
            output: self.output.saturating_sub(before.output),
            cached: self.cached.saturating_sub(before.cached),
            micro_usd: self.micro_usd.saturating_sub(before.micro_usd),
            unpriced: self.unpriced.saturating_sub(before.unpriced),
        }
    }

    pub(crate) fn and(self, more: Self) -> Self {
        Self {
            input: self.input.saturating_add(more.input),
            output: self.output.saturating_add(more.output),
            cached: self.cached.saturating_add(more.cached),
            micro_usd: self.micro_usd.saturating_add(more.micro_usd),
            unpriced: self.unpriced.saturating_add(more.unpriced),
        }
    }
}

/// Longest key and longest value of the memory, in bytes, and how many there may be.
pub(crate) const MEMORY_KEY_MAX: usize = 256;
pub(crate) const MEMORY_VALUE_MAX: usize = 64 << 10;
pub(crate) const MEMORY_KEYS_MAX: usize = 256;

/// JSON by key.
pub type Memory = BTreeMap<Arc<str>, Arc<str>>;

impl Run {
    pub fn is_under_way(&self) -> bool {
        self.state == RunState::UnderWay
    }
}
