//! How many descriptors this process has and may have. Called by the supervisor: at its start, for its status, and
//! whenever it starts a program.
//!
//! The supervisor holds some descriptors for each team and member, more than the usual soft limit of 1,024 has room for.
//! What it starts gets the former limit back: a program that waits with select(2) breaks on a larger one.

use std::fs;
use std::io;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::os;

/// The limit that this process was started with, once it was raised.
static BEFORE: OnceLock<(Option<u64>, Option<u64>)> = OnceLock::new();

/// macOS refuses more than OPEN_MAX where the hard limit is infinite.
const UNLIMITED: u64 = 10_240;

/// Raises the soft limit to the hard one. Returns the limit from now on.
pub fn raise_limit() -> io::Result<u64> {
    let before = getrlimit(Resource::Nofile);
    let hard = before.maximum.unwrap_or(UNLIMITED);
    if before.current.is_some_and(|soft| soft < hard) {
        let raised = Rlimit {
            current: Some(hard),
            maximum: before.maximum,
        };
        setrlimit(Resource::Nofile, raised)?;
        let _raised_before = BEFORE.set((before.current, before.maximum));
    }
    Ok(limit())
}

/// How many descriptors this process may have.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many descriptors this process has open.
pub fn open() -> io::Result<usize> {
    // The directory is open while it is read.
    let directory = if cfg!(target_os = "linux") {
        "/proc/self/fd"
    } else {
        "/dev/fd"
    };
    Ok(fs::read_dir(directory)?.count().saturating_sub(1))
}

/// Gives a program that was just started the limit back that was there before [`raise_limit`]. Does nothing on macOS,
/// where no other process's limit can be set.
pub fn lower_limit_of(pid: u32) {
    if let Some(&(current, maximum)) = BEFORE.get() {
        os::limit_descriptors(pid, Rlimit { current, maximum });
    }
}
