//! The exit codes of the command line, the same for every verb.

/// The result of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    Done = 0,
    /// The command ran, but the task, check or wait that it reports failed.
    Failed = 1,
    /// Invalid arguments or an invalid file.
    Usage = 2,
    NotFound = 3,
    /// The state does not allow the action: conflict, stale, blocked, untrusted.
    Refused = 4,
    /// Permission denied.
    Denied = 5,
    /// The supervisor does not answer, or it speaks another protocol version.
    Unreachable = 6,
    /// `down` could not terminate or remove something.
    Survived = 7,
    /// A bug in this program.
    Bug = 70,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// The supervisor's exit code after a failed sync. A member then starts a new supervisor, which reads the state that is
/// actually on disk.
pub const SYNC_FAILED: u8 = 75;
