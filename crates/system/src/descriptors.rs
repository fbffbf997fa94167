//! Number and limit of open descriptors. Called by the supervisor at its start, for its status, and whenever it starts
//! a program, and by the HTTP service at its start.
//!
//! The supervisor holds several descriptors per team and member, more than the usual soft limit of 1,024 allows.
//! Programs that it starts get the original limit back: select(2) cannot handle descriptors above 1,023, so programs
//! that use it rely on that limit.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limits of this process before they were raised.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// The soft limit if the hard limit is infinite: OPEN_MAX, because macOS refuses more.
const UNLIMITED: u64 = 10_240;

/// Raises the soft limit to the hard limit. Returns the new limit.
pub fn raise_limit() -> io::Result<u64> {
    let before = getrlimit(Resource::Nofile);
    let hard = before.maximum.unwrap_or(UNLIMITED);
    if before.current.is_some_and(|soft| soft < hard) {
        let raised = Rlimit {
            current: Some(hard),
            maximum: before.maximum,
        };
        setrlimit(Resource::Nofile, raised)?;
        let _raised_before = BEFORE.set(before);
    }
    Ok(limit())
}

/// The largest number of descriptors that this process may open.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The number of open descriptors of this process.
pub fn open() -> io::Result<usize> {
    // Reading the directory opens one descriptor itself, hence the subtraction below.
    let directory = if cfg!(target_os = "linux") {
        "/proc/self/fd"
    } else {
        "/dev/fd"
    };
    Ok(fs::read_dir(directory)?.count().saturating_sub(1))
}

/// Gives the program the limit from before [`raise_limit`].
///
/// The limit is set between fork and exec, not by the parent afterwards: a program can start another program before its
/// parent runs again, as a tmux client starts its server. That program would keep the raised limit.
pub fn lower_limit_of(command: &mut Command) {
    if original_limit().is_none() {
        return;
    }
    #[expect(unsafe_code, reason = "code between fork and exec")]
    // SAFETY: `lower_limit` makes one system call: it neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(lower_limit);
    }
}

/// The limit from before [`raise_limit`]; `None` if that function was not called or changed nothing.
pub(crate) fn original_limit() -> Option<&'static Rlimit> {
    BEFORE.get()
}

/// Lowers the limit of this process, a child that has not called exec yet.
pub(crate) fn lower_limit() -> io::Result<()> {
    match original_limit() {
        Some(before) => Ok(setrlimit(Resource::Nofile, *before)?),
        None => Ok(()),
    }
}
