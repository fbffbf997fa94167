//! Where members can be shown: the caller's terminal app, and reports on each placement.

use serde::{Deserialize, Serialize};

/// The environment of a terminal in iTerm2. It must come from the caller: iTerm2 gives its cookies to its own sessions
/// only, and listens on a socket below the user's home directory.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CallerIterm {
    /// `$ITERM_SESSION_ID`, as in `w0t1p2:UUID`. Inside tmux: the session around it.
    #[serde(default)]
    pub session: Option<String>,
    /// Connected by ssh: the app runs on another machine.
    pub remote: bool,
    /// `$HOME`.
    pub home: String,
    /// `$IT2_SUITE`: set by other builds of the app, which use their own directories.
    #[serde(default)]
    pub suite: Option<String>,
    /// `$ITERM2_COOKIE` and `$ITERM2_KEY`. Secrets: `Debug` hides them.
    #[serde(default)]
    pub cookie: Option<String>,
    #[serde(default)]
    pub key: Option<String>,
}

impl std::fmt::Debug for CallerIterm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallerIterm")
            .field("session", &self.session)
            .field("remote", &self.remote)
            .field("home", &self.home)
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

/// Whether a placement can show members. `agent-teamd --places` prints it for `doctor`, which must not link the code
/// that probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementReport {
    /// A value of `--panes`.
    pub name: String,
    /// `None`: not available here, which is not an error.
    pub ok: Option<bool>,
    /// What members would get, or why they would not get it.
    pub detail: String,
    #[serde(default)]
    pub hint: Option<String>,
}
