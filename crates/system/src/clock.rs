//! Clocks. Called by the supervisor, which passes the time into the core, and by all other programs.
//!
//! Deadlines are monotonic milliseconds and are invalid under another boot id. Wall time is only for display: no
//! deadline depends on it. Nothing here sleeps.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::os;

/// The monotonic clock in milliseconds. Its start is arbitrary, and is the same for all processes of one boot. The time
/// during which the machine is suspended does not count.
pub fn monotonic_ms() -> u64 {
    os::monotonic_ms()
}

/// Milliseconds of Unix time. May jump in either direction.
pub fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

/// The time stamp that the kernel gives to a file that is changed now. On Linux this is the time of the kernel's last
/// tick, which can be a few milliseconds before [`SystemTime::now`].
pub fn file_time() -> SystemTime {
    os::file_time()
}

/// Identifies this boot of the machine. Pids and deadlines that were recorded under another boot id are invalid.
///
/// # Errors
/// The system does not report the id.
pub fn boot_id() -> io::Result<String> {
    os::boot_id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_time_never_goes_back() {
        let first = monotonic_ms();
        assert!(monotonic_ms() >= first);
        assert!(first > 0);
    }

    #[test]
    fn one_boot_has_one_id() {
        let id = boot_id().unwrap();
        assert!(!id.is_empty());
        assert_eq!(id, id.trim());
        assert_eq!(id, boot_id().unwrap());
    }
}
