//! The environment variables that a shared process inherits. Used by the command line, which starts the supervisor, and
//! by the supervisor, which starts its tmux server and `osascript`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Names of the variables for which [`is_inherited`] is true, in addition to variables that begin with `LC_`.
const INHERITED: [&str; 10] = [
    "AGENT_TEAM_LOG",
    "HOME",
    "LANG",
    "LOGNAME",
    "PATH",
    "RUST_BACKTRACE",
    "SHELL",
    "TMPDIR",
    "TZ",
    "USER",
];

/// Whether a shared process (the supervisor or its tmux server) inherits this variable from the process that starts it.
/// Only variables that describe the user's account, the language, the search for programs and the logs are inherited:
/// secrets and terminal settings belong to one terminal, and the shared process serves all of them.
pub fn is_inherited(variable: &OsStr) -> bool {
    INHERITED.iter().any(|name| variable == *name) || variable.as_bytes().starts_with(b"LC_")
}
