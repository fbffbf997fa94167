//! Arguments and answers of `pane/*` and `team/attach`: where members are seen.

use serde::{Deserialize, Serialize};

use super::CallerTerminal;
use crate::id::{LaunchId, MemberName};
use crate::notification::ShowPane;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attach {
    #[serde(default)]
    pub member: Option<MemberName>,
    pub read_only: bool,
    pub terminal: CallerTerminal,
}

/// What the caller runs, in its own terminal, to be attached.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AttachAnswer {
    /// Empty: the caller's own tmux client or iTerm2 shows it already, nothing is to be run.
    pub argv: Vec<String>,
    /// Variables to take away before `argv` is run.
    pub unset: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReopenPanes {
    /// `None`: everybody who is to have one.
    #[serde(default)]
    pub member: Option<MemberName>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReopenAnswer {
    /// Of the members that were without one.
    pub panes: Vec<Reopened>,
}

/// A member's new pane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reopened {
    pub member: MemberName,
    /// The terminal's own id, such as `%3`; `None`: there is none, because of `why`.
    #[serde(default)]
    pub pane: Option<String>,
    #[serde(default)]
    pub why: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HoldPane {
    pub launch: LaunchId,
    /// What the launch's worker is to be told.
    pub show: ShowPane,
}

/// Whom the terminal is lent to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HoldAnswer {
    pub member: MemberName,
    /// The worker, which is to hear of keys and sizes by signals.
    pub pid: u32,
    /// As in [`crate::notification::TaskSession`].
    pub start_time: u64,
}
