//! Arguments and answers of `team/*`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::Refusal;
use crate::id::{MemberName, Revision, TeamId};
use crate::placement::{CallerTerminal, Placement};
use crate::spec::{Budget, TeamSpec};
use crate::value::Mode;
use crate::view::{MemberView, Receipt, TeamEntry};

#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Up {
    pub spec: TeamSpec,
    /// The members' environment. A secret: `Debug` hides it.
    pub environment: BTreeMap<String, String>,
    /// The variables that the caller named explicitly: tools receive them too.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub named: BTreeSet<String>,
    /// Variables only for the programs that the members' tools and tasks run: models and the supervisor's hooks do not
    /// receive them. Each value has at least [`SECRET_MIN`] bytes, and is hidden in all output.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    pub terminal: CallerTerminal,
    /// Only report what the call would do.
    pub dry_run: bool,
    /// Discard the previous board and members.
    pub fresh: bool,
}

/// Minimum length of a secret, in bytes. Shorter values occur in ordinary text too often to be hidden everywhere.
pub const SECRET_MIN: usize = 6;

impl std::fmt::Debug for Up {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Up")
            .field("spec", &self.spec)
            .field("terminal", &self.terminal)
            .field("dry_run", &self.dry_run)
            .field("fresh", &self.fresh)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UpAnswer {
    pub team: TeamId,
    pub revision: Revision,
    pub placement: Placement,
    /// Why this placement was chosen.
    pub placement_reason: String,
    pub changes: Vec<Change>,
}

/// One change that `up` made, or would make without `dry_run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Change {
    /// `member ada`, `task Build`.
    pub what: String,
    pub change: ChangeKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    Started,
    Restarted,
    Stopped,
    Added,
    Updated,
    /// The entry of a failed or cancelled task changed, so the task is pending again.
    Retried,
    Cancelled,
    /// The task differs and was left unchanged; the note contains the reason.
    Left,
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Down {
    /// Skip the grace period.
    pub force: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DownAnswer {
    pub receipts: Vec<Receipt>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TeamListAnswer {
    pub teams: Vec<TeamEntry>,
    /// Teams on disk that cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableTeam>,
}

/// A team that exists on disk and cannot be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UnreadableTeam {
    /// `None`: the teams cannot be listed.
    pub team: Option<TeamId>,
    pub error: Refusal,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WaitAnswer {
    pub team: TeamId,
    pub outcome: WaitResult,
    pub members: Vec<MemberView>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaitResult {
    /// Every task is completed or cancelled.
    Completed,
    /// A task failed, or no member can claim a remaining task.
    Failed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SetBudget {
    /// `None`: the team's limits.
    #[serde(default)]
    pub member: Option<MemberName>,
    /// Replaces the current limits.
    pub budget: Budget,
}

/// Arguments of `team/mode`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SetMode {
    /// `None`: the whole team, including members that have a mode of their own.
    #[serde(default)]
    pub member: Option<MemberName>,
    pub mode: Mode,
}
