//! Arguments and answers of `team/*`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{MemberName, Revision, TeamId};
use crate::place::CallerIterm;
use crate::spec::{Budget, TeamSpec};
use crate::view::{MemberView, Placement, Receipt, TeamEntry};

/// What the caller's terminal is: the supervisor never trusts its own environment for this.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CallerTerminal {
    /// `$TMUX`, when set.
    #[serde(default)]
    pub tmux: Option<String>,
    /// `$TMUX_PANE`, when set.
    #[serde(default)]
    pub tmux_pane: Option<String>,
    /// `$PATH`: where tmux and osascript are looked for.
    pub path: String,
    /// Columns and rows; `None` without a terminal.
    #[serde(default)]
    pub size: Option<(u16, u16)>,
    /// `None`: it is no terminal of iTerm2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterm: Option<Box<CallerIterm>>,
}

#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Up {
    pub spec: TeamSpec,
    /// The members' environment. A secret: `Debug` hides it.
    pub environment: BTreeMap<String, String>,
    /// Which of them the caller named itself, and so meant for tools.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub named: BTreeSet<String>,
    /// Variables of what the members' tools and tasks run, and of nothing else: neither a model nor a hook is told of
    /// them, and their values, of [`SECRET_MIN`] bytes at least, are hidden wherever a program prints them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    pub terminal: CallerTerminal,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Forget the board and the members of before.
    pub fresh: bool,
}

/// A shorter value stands in too much that is no secret to be hidden everywhere. In bytes.
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
    /// Why this placement.
    pub placement_reason: String,
    pub changes: Vec<Change>,
}

/// One thing that `up` did, or would do.
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
    Cancelled,
    /// Differs, and was left as it is; the note says why.
    Left,
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Down {
    /// Skip the grace.
    pub force: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DownAnswer {
    pub receipts: Vec<Receipt>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TeamListAnswer {
    pub teams: Vec<TeamEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WaitAnswer {
    pub team: TeamId,
    pub outcome: Outcome,
    pub members: Vec<MemberView>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every task is completed or cancelled.
    Completed,
    /// Some task failed, or is left that nobody can take.
    Failed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SetBudget {
    /// `None`: the team's.
    #[serde(default)]
    pub member: Option<MemberName>,
    /// In place of what is set.
    pub budget: Budget,
}
