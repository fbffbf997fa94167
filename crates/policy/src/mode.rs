//! What is done where no rule says anything. Called by the judge and by whoever starts a member.

use std::fmt;
use std::str::FromStr;

/// From the narrowest to the widest, which is also their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Nothing is changed and nothing is run, whatever rules allow.
    Plan,
    /// What would be asked is denied.
    DontAsk,
    Default,
    /// Files of the project are changed without asking, but for protected ones.
    AcceptEdits,
    /// Nothing is asked, but for protected files. What is denied stays so.
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

    /// A teammate's mode under its lead's: never wider.
    pub fn narrowed_by(self, lead: Mode) -> Mode {
        self.min(lead)
    }

    /// As it is written in files and on the wire.
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

/// No mode is called so.
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
