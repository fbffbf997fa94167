//! Where iTerm2 shows a team, as stored in the journal: fields are added, never renamed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The iTerm2 instance that shows the team. Contains no cookie: a cookie is a secret and is used once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ItermSite {
    /// The socket of the app's API.
    pub(crate) socket: PathBuf,
    /// The session in which `up` was called: the team's first tab opens in its window.
    pub(crate) session: Option<String>,
    /// The program that requests a cookie from the app, if installed.
    pub(crate) osascript: Option<PathBuf>,
}
