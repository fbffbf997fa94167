//! The states of work that every screen shows, each with one sign and one colour. Used by `terminal-ui`, whose themes
//! contain these colours, and by the supervisor for tmux's status line. Pure.

/// A state of a member, a task or a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Success,
    Failure,
    /// The user must act.
    Waiting,
    /// In progress.
    Working,
}

impl Status {
    pub const ALL: [Self; 4] = [Self::Success, Self::Failure, Self::Waiting, Self::Working];

    pub const fn sign(self) -> &'static str {
        match self {
            Self::Success => "✓",
            Self::Failure => "✗",
            Self::Waiting => "?",
            Self::Working => "◐",
        }
    }

    /// The colour on a dark background, as a number of the 256-colour palette.
    pub const fn ansi256(self) -> u8 {
        match self {
            Self::Success => 77,
            Self::Failure => 203,
            Self::Waiting => 220,
            Self::Working => 117,
        }
    }
}
