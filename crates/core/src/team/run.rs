//! State of a team's goal: the run, a summary of each member's transcript, and spending.
//!
//! ```text
//!   RunStarted ──▶ under way ── RunFinished: the lead has answered ──▶ finished
//!                      ├─────── RunFailed: no rounds left, stuck, or cancelled ──▶ failed
//!                      └─────── RunAbandoned: replaced by another goal ──▶ abandoned
//! ```
//! A run under way survives `down`: the next `up` continues it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::{MemberName, RunId, TaskId};
use agent_team_protocol::value::{Effort, RunFailure, Usage};

use crate::team::round::{Round, Work};
use crate::team::stored::{StoredUsage, is_default};

/// One goal and its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub id: RunId,
    pub goal: Arc<str>,
    pub state: RunState,
    /// Unix time in milliseconds.
    pub started_at: u64,
    /// The team goes down when the run ends.
    pub then_down: bool,
    /// How much models think until the run ends. `None`: as configured.
    pub effort: Option<Effort>,
    /// The rounds so far, in a team that works in rounds.
    pub rounds: Vec<Round>,
    /// The lead was notified that all members are idle. Since then no task was claimed, and no teammate was in a turn.
    pub(crate) idle_notified: bool,
    /// Tasks from this number on were added after the run began.
    pub(crate) first_task: TaskId,
    /// The files that members changed during the run, each with the member that changed it first.
    pub files: BTreeMap<Arc<str>, MemberName>,
    /// Results and usage. `None` if the run is under way or was abandoned, or if an older version ended it.
    pub totals: Option<RunTotals>,
}

/// Results and usage of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTotals {
    /// The completed tasks that were added during the run.
    pub tasks: u64,
    /// Millionths of a US dollar, for tokens with a known price.
    pub micro_usd: u64,
    /// Tokens without a known price.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unpriced: u64,
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
        failure: RunFailure,
        reason: Arc<str>,
        at: u64,
    },
    Abandoned {
        at: u64,
    },
}

/// Summary of a member's transcript; the transcript itself is in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscriptSummary {
    /// Number of items in the transcript.
    pub length: u64,
    #[serde(default, with = "StoredUsage")]
    pub spent: Usage,
    /// The member is in a turn and continues without further input.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub active: bool,
    /// The lead has received a report from the member in this turn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reported: bool,
}

impl TranscriptSummary {
    /// The lead received a report. This matters only within a turn.
    pub(crate) fn report(&mut self) {
        self.reported = self.active;
    }
}

impl Run {
    pub fn is_under_way(&self) -> bool {
        self.state == RunState::UnderWay
    }

    /// The round in which a member works: its number, the member and the task.
    pub(crate) fn round_under_way(&self) -> Option<(u32, &MemberName, TaskId)> {
        match self.rounds.last() {
            Some(Round::Worked {
                member,
                task: Some(task),
                work: Work::UnderWay,
            }) if self.is_under_way() => Some((self.rounds_so_far(), member, *task)),
            Some(Round::Worked { .. } | Round::Unclear { .. } | Round::Answered) | None => None,
        }
    }

    pub fn rounds_so_far(&self) -> u32 {
        u32::try_from(self.rounds.len()).unwrap_or(u32::MAX)
    }
}
