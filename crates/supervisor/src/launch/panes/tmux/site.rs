//! Where tmux shows a team, as stored in the journal: fields are added, never renamed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The tmux server and session that show the team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TmuxSite {
    pub(crate) binary: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) session: TmuxSession,
    /// Columns and rows of new windows.
    pub(crate) size: (u16, u16),
    /// Clients attach in tmux's control mode, in which iTerm2 draws windows and panes natively.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) control_mode: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TmuxSession {
    /// The team's session on agent-team's server: created and ended with the team.
    Own,
    /// The user's session, by its id: the backend only adds windows to it.
    #[serde(rename = "users")]
    OfUser(String),
}
