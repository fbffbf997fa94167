//! The exit codes of the command line, the same for every verb.

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    Done = 0,
    /// It ran and failed: a task, a check, a wait.
    Failed = 1,
    /// What was typed or written in a file cannot be meant.
    Usage = 2,
    NotFound = 3,
    /// The state does not allow it: conflict, stale, blocked, untrusted.
    Refused = 4,
    /// Permission denied.
    Denied = 5,
    /// No supervisor answers, or it speaks another protocol.
    Unreachable = 6,
    /// `down` could not end or remove something.
    Survived = 7,
    /// A fault of this program.
    Bug = 70,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// How the supervisor ends when the disk refused a sync: a member starts a new one, which reads what is really there.
pub const SYNC_FAILED: u8 = 75;
