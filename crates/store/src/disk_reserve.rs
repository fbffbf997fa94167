//! A reserve of disk space, released when the disk is full, so that stops, kills and denials can still be stored.
//!
//! ```text
//!                a batch did not fit: the reserve's blocks are released
//!   Reserved ──────────────────────────────────────────────────► Short
//!   every batch is tried                                        only urgent batches are tried
//!       ▲                                                           │
//!       └───────────────────────────────────────────────────────────┘
//!                the reserve fits again, with a margin
//! ```
//!
//! While space is short, only urgent batches may use the released space. An ordinary batch is tried again only when the
//! disk has space for the whole reserve and a margin.

use std::io;
use std::path::{Path, PathBuf};

use agent_team_system::disk;
use rusqlite::{ErrorCode, ffi};

/// Size of the reserve, in bytes: many times what the exits, kills and denials of a large team need.
const RESERVE: u64 = 4 << 20;

/// Free space required beside the reserve before ordinary batches are tried again, in bytes.
const MARGIN: u64 = 1 << 20;

/// The largest extension of a file that SQLite makes at once: the shared memory file grows by 32 KiB, or by a memory
/// page if that is larger.
const PROBE: u64 = 64 << 10;

const RESERVE_NAME: &str = "reserve";

#[derive(Debug)]
pub(crate) struct DiskReserve {
    file: PathBuf,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reserved,
    Short,
}

/// Whether this error occurred because the disk of `dir` is full.
pub(crate) fn is_disk_full(dir: &Path, error: &rusqlite::Error) -> bool {
    let code = error
        .sqlite_error()
        .map(|error| (error.code, error.extended_code));
    match code {
        Some((ErrorCode::DiskFull, _)) => true,
        // SQLite reports only ENOSPC as `SQLITE_FULL`. For EDQUOT it returns `SQLITE_IOERR_WRITE`, and for every failed
        // extension of its shared memory file `SQLITE_IOERR_SHMSIZE` (`unixWrite` and `unixShmMap` in os_unix.c). A
        // faulty disk returns the same two codes, so only a test write shows whether the disk is full.
        Some((_, ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE)) => {
            let probe = dir.join("probe");
            let fits = fits(&probe, PROBE);
            let _released = disk::release(&probe);
            !fits
        }
        _ => false,
    }
}

/// Releases the reserve in `dir` before there is a [`DiskReserve`]. False if the reserve does not exist or cannot be
/// released.
pub(crate) fn release(dir: &Path) -> bool {
    disk::release(&dir.join(RESERVE_NAME)).unwrap_or(false)
}

impl DiskReserve {
    pub(crate) fn claim(dir: &Path) -> Self {
        let file = dir.join(RESERVE_NAME);
        let state = if fits(&file, RESERVE) {
            State::Reserved
        } else {
            State::Short
        };
        Self { file, state }
    }

    /// Whether a batch may be tried.
    pub(crate) fn admits(&mut self, urgent: bool) -> bool {
        match self.state {
            State::Reserved => true,
            State::Short => urgent || self.regain(),
        }
    }

    /// Whether there is more space than urgent batches need.
    pub(crate) fn is_ample(&self) -> bool {
        self.state == State::Reserved
    }

    /// Releases the reserve after a batch did not fit. Returns true if this freed space.
    pub(crate) fn spend(&mut self) -> bool {
        self.state = State::Short;
        disk::release(&self.file).unwrap_or_else(|error| {
            tracing::error!(reserve = %self.file.display(), %error, "cannot free the disk reserve");
            false
        })
    }

    fn regain(&mut self) -> bool {
        // Allocate the reserve with the margin to test for space, then allocate it again without the margin.
        if fits(&self.file, RESERVE + MARGIN) && self.spend() && fits(&self.file, RESERVE) {
            self.state = State::Reserved;
            tracing::info!(reserve = %self.file.display(), "the disk has room again");
        }
        self.is_ample()
    }
}

/// Allocates a file of this size: the reserve, or the probe. False only if the disk is full: after any other error the
/// store continues without the file.
fn fits(file: &Path, bytes: u64) -> bool {
    match disk::reserve(file, bytes) {
        Ok(()) => true,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ) =>
        {
            false
        }
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "cannot allocate a file on the disk");
            true
        }
    }
}
