//! Arguments and answers of `pane/*` and `team/attach`.

use serde::{Deserialize, Serialize};

use crate::id::{LaunchId, MemberName};
use crate::notification::ShowPane;
use crate::placement::CallerTerminal;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attach {
    #[serde(default)]
    pub member: Option<MemberName>,
    pub read_only: bool,
    pub terminal: CallerTerminal,
}

/// The command that attaches the caller's terminal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AttachAnswer {
    /// Empty: the caller's own tmux client or iTerm2 already shows the team or the member.
    pub argv: Vec<String>,
    /// Variables to remove before running `argv`.
    pub unset: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReopenPanes {
    /// `None`: all members that should have a pane.
    #[serde(default)]
    pub member: Option<MemberName>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReopenAnswer {
    /// One entry for each member that had no pane.
    pub panes: Vec<Reopened>,
}

/// The result of opening a pane for a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reopened {
    pub member: MemberName,
    /// The terminal's own id, such as `%3`. `None`: no pane was opened, for the reason in `why`.
    #[serde(default)]
    pub pane: Option<String>,
    #[serde(default)]
    pub why: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LendTerminal {
    pub launch: LaunchId,
    /// The notification for the launch's worker.
    pub show: ShowPane,
}

/// The member that the attach helper lends its terminal to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LendTerminalAnswer {
    pub member: MemberName,
    /// The worker's pid: the attach helper forwards the signals of resizes, `^C` and hangups to the worker.
    pub pid: u32,
    /// As in [`crate::notification::TaskSession`].
    pub start_time: u64,
}
