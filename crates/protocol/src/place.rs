//! Where members can be shown: what a caller's environment says of its terminal app, and what is told of each place.

use serde::{Deserialize, Serialize};

/// What the environment of a terminal in iTerm2 says. Only the caller knows it: the app takes its cookies from the
/// environment of its own sessions, and listens below the home of whoever runs it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CallerIterm {
    /// `$ITERM_SESSION_ID`, as in `w0t1p2:UUID`. Within tmux: the session around it.
    #[serde(default)]
    pub session: Option<String>,
    /// Reached by ssh: the app runs on another machine.
    pub remote: bool,
    /// `$HOME`.
    pub home: String,
    /// `$IT2_SUITE`: another build of the app has directories of its own.
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

/// Whether members can be shown in a place, as `agent-teamd --places` prints it for `doctor`, which may not link what
/// would find it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceReport {
    /// A value of `--panes`.
    pub name: String,
    /// `None`: not here, which is no fault.
    pub ok: Option<bool>,
    /// What members would get, or why they would not.
    pub detail: String,
    #[serde(default)]
    pub hint: Option<String>,
}
