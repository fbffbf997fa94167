//! Room on the disk: a reserve that is given back when the disk is full, so that what ends things can still be stored.
//!
//! ```text
//!                a batch did not fit: the reserve's blocks are given back
//!   Reserved ──────────────────────────────────────────────────► Short
//!   everything is tried                                          only urgent batches are tried
//!       ▲                                                           │
//!       └───────────────────────────────────────────────────────────┘
//!                the reserve fits again, with a margin
//! ```
//!
//! While it is short, what the reserve gave back belongs to urgent batches alone; hence the margin: an ordinary batch
//! is tried only when it would not have to take from them.

use std::io;
use std::path::{Path, PathBuf};

use agent_team_system::disk;
use rusqlite::{ErrorCode, ffi};

/// Exits, kills and denials of a large team, many times over.
const RESERVE: u64 = 4 << 20;

/// What must be free beside the reserve before ordinary batches are tried again.
const MARGIN: u64 = 1 << 20;

/// As much as SQLite wants at once.
const PROBE: u64 = 64 << 10;

const RESERVE_NAME: &str = "reserve";

#[derive(Debug)]
pub(crate) struct Room {
    file: PathBuf,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reserved,
    Short,
}

/// Whether this went wrong because the disk of `dir` is full.
pub(crate) fn is_missing(dir: &Path, error: &rusqlite::Error) -> bool {
    let code = error
        .sqlite_error()
        .map(|error| (error.code, error.extended_code));
    match code {
        Some((ErrorCode::DiskFull, _)) => true,
        // What a used-up quota is to SQLite, and a full disk where it makes its scratch memory.
        Some((_, ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE)) => {
            let probe = dir.join("probe");
            let fits = fits(&probe, PROBE);
            let _gone = disk::release(&probe);
            !fits
        }
        _ => false,
    }
}

/// Gives the reserve in `dir` back before there is a [`Room`]. False when there was none.
pub(crate) fn release(dir: &Path) -> bool {
    disk::release(&dir.join(RESERVE_NAME)).unwrap_or(false)
}

impl Room {
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

    /// Whether there is more than urgent batches need.
    pub(crate) fn is_ample(&self) -> bool {
        self.state == State::Reserved
    }

    /// After a batch did not fit. True when that gave something back.
    pub(crate) fn spend(&mut self) -> bool {
        self.state = State::Short;
        disk::release(&self.file).unwrap_or_else(|error| {
            tracing::error!(reserve = %self.file.display(), %error, "cannot free the disk reserve");
            false
        })
    }

    fn regain(&mut self) -> bool {
        if fits(&self.file, RESERVE + MARGIN) && self.spend() && fits(&self.file, RESERVE) {
            self.state = State::Reserved;
            tracing::info!(reserve = %self.file.display(), "the disk has room again");
        }
        self.is_ample()
    }
}

/// False when there is no room for it. Where a reserve cannot be made for any other reason, work goes on without one.
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
            tracing::warn!(reserve = %file.display(), %error, "cannot create the reserve file for a full disk");
            true
        }
    }
}
