//! What the team file and the user's own settings say about permissions: their rules, and what is done without one.

use serde::{Deserialize, Serialize};

use crate::request::Scope;

/// What is done where no rule says anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing is changed and nothing is run, whatever rules allow.
    Plan,
    /// What would be asked is denied.
    DontAsk,
    /// Reading in the project passes, everything else is asked.
    #[default]
    Default,
    /// Files of the project are changed without asking too.
    AcceptEdits,
    /// Nothing is asked, and nothing held back.
    Bypass,
}

impl Mode {
    /// As they are written.
    pub const NAMES: [(&'static str, Mode); 5] = [
        ("default", Mode::Default),
        ("accept-edits", Mode::AcceptEdits),
        ("plan", Mode::Plan),
        ("dont-ask", Mode::DontAsk),
        ("bypass", Mode::Bypass),
    ];

    pub fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, mode)| *mode == self);
        named.map_or("", |(name, _)| name)
    }
}

/// The rules of one source: the team file, or the user's own settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
// A key that this version ignored could be a restriction: a newer version's permissions are refused whole.
#[serde(deny_unknown_fields)]
pub struct Permissions {
    /// The file, as a person would type it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// Rules, such as `Bash(git push:*)`. Denied, whatever was allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
    /// Asked about, whatever was allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ask: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// What the lead may allow others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approve: Vec<String>,
    /// Milliseconds after which a request that nobody answered is denied. `None`: it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_ms: Option<u64>,
}

impl Permissions {
    /// It forbids something, or asks about it.
    pub fn holds_back(&self) -> bool {
        !self.deny.is_empty() || !self.ask.is_empty()
    }
}

/// What is done about calls that no rule decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Stance {
    #[serde(default)]
    pub mode: Mode,
    /// Nobody is there to be asked: what would be, is denied.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unattended: bool,
    /// How far a decision reaches when nobody says how far.
    #[serde(default)]
    pub default_scope: Scope,
}
