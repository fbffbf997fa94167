//! Number and limit of open descriptors. Called by the supervisor at its start, for its status, and whenever it starts
//! a program.
//!
//! The supervisor holds several descriptors per team and member, more than the usual soft limit of 1,024 allows.
//! Programs that it starts get the original limit back: select(2) cannot handle descriptors above 1,023, so programs
//! that use it rely on that limit.

use std::fs;
use std::io;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::os;

/// The limits of this process before they were raised.
static BEFORE: OnceLock<(Option<u64>, Option<u64>)> = OnceLock::new();

/// macOS refuses more than OPEN_MAX where the hard limit is infinite.
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
        let _raised_before = BEFORE.set((before.current, before.maximum));
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

/// Restores, for a program that was just started, the limit from before [`raise_limit`]. Does nothing on macOS, where a
/// process cannot set the limits of another.
pub fn lower_limit_of(pid: u32) {
    if let Some(&(current, maximum)) = BEFORE.get() {
        os::limit_descriptors(pid, Rlimit { current, maximum });
    }
}
