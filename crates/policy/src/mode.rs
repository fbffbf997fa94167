//! Permission modes: the default for calls that no rule matches. Called by the judge, and when a member is launched.

use std::fmt;
use std::str::FromStr;

/// In order from the most restrictive to the most permissive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Nothing may be changed or run, even if a rule allows it.
    Plan,
    /// Calls that would need a decision are denied.
    DontAsk,
    Default,
    /// Files of the project may be changed, except protected ones.
    AcceptEdits,
    /// Everything is allowed except changes of protected files. Denials stay.
    Bypass,
}

impl Mode {
    pub const ALL: [Mode; 5] = [
        Mode::Plan,
        Mode::DontAsk,
        Mode::Default,
        Mode::AcceptEdits,
        Mode::Bypass,
    ];

    /// A teammate's mode, limited to its lead's.
    pub fn narrowed_by(self, lead: Mode) -> Mode {
        self.min(lead)
    }

    /// The spelling in files and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Plan => "plan",
            Mode::DontAsk => "dont-ask",
            Mode::Default => "default",
            Mode::AcceptEdits => "accept-edits",
            Mode::Bypass => "bypass",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no mode of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no mode {0:?}: there are plan, dont-ask, default, accept-edits and bypass")]
pub struct UnknownMode(pub String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(name: &str) -> Result<Self, UnknownMode> {
        Mode::ALL
            .into_iter()
            .find(|mode| mode.name() == name)
            .ok_or_else(|| UnknownMode(name.to_owned()))
    }
}
