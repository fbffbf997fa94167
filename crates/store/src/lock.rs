//! The lock of one team: it excludes a second writer, and its file contains the newest acknowledged revision.
//!
//! If a write-ahead log was removed, emptied or replaced by an older one, the database is readable but has lost
//! its newest events. The revision in the lock file reveals this loss. [`crate::Writer`] holds the lock, on a separate
//! file: SQLite's POSIX locks on the database end when any descriptor of the database is closed in this process.
//!
//! The lock file is written at each open and each commit, and never synced. After a power cut it may contain an older
//! revision, which is harmless. With [`Durability::Process`] the journal itself may lose its newest events in a power
//! cut. Therefore the lock file of such a team contains the id of the boot under which it was written, and is valid
//! only under that boot.

use std::io;
use std::path::{Path, PathBuf};

use agent_team_system::clock;
use agent_team_system::lock::FileLock;

use crate::open_error::OpenError;

/// The name of the lock file, beside the database.
const NAME: &str = "team.lock";

/// In place of a boot's id: the revision is valid under every boot.
const EVERY_BOOT: &str = "any";

/// The failures that a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A power cut.
    Power,
    /// Any kill, but not a power cut, which may lose the newest commits.
    Process,
}

/// Whether a writer holds the lock of the team in this directory.
///
/// # Errors
/// If the lock file cannot be opened.
pub fn is_locked(dir: &Path) -> io::Result<bool> {
    FileLock::is_held(&path(dir))
}

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

#[derive(Debug)]
pub(crate) struct TeamLock {
    path: PathBuf,
    file: FileLock,
    boot: String,
}

impl TeamLock {
    /// Acquires the lock; `None` when another writer holds it.
    pub(crate) fn acquire(dir: &Path, durability: Durability) -> io::Result<Option<Self>> {
        let path = path(dir);
        let Some(file) = FileLock::try_acquire(&path)? else {
            return Ok(None);
        };
        let boot = match durability {
            Durability::Power => EVERY_BOOT.to_owned(),
            Durability::Process => clock::boot_id()?,
        };
        Ok(Some(Self { path, file, boot }))
    }

    /// The newest acknowledged revision, or 0.
    fn acknowledged(&self) -> io::Result<u64> {
        let text = self.file.text()?;
        let known = text.trim().split_once(' ').and_then(|(revision, boot)| {
            let is_valid = boot == EVERY_BOOT || clock::boot_id().is_ok_and(|now| now == boot);
            revision.parse().ok().filter(|_| is_valid)
        });
        Ok(known.unwrap_or(0))
    }

    /// Refuses a database that ends before the acknowledged revision.
    pub(crate) fn check(&self, database: &Path, stored: u64) -> Result<(), OpenError> {
        let acknowledged = self.acknowledged().map_err(|source| OpenError::Io {
            file: self.path.clone(),
            source,
        })?;
        if acknowledged <= stored {
            return Ok(());
        }
        Err(OpenError::Lost {
            file: database.to_owned(),
            stored,
            acknowledged,
            lock: self.path.clone(),
        })
    }

    /// Records the newest acknowledged revision.
    pub(crate) fn record(&self, revision: u64) {
        // The length is fixed, so that a crash leaves either the old or the new text.
        let text = format!("{revision:020} {}\n", self.boot);
        if let Err(error) = self.file.overwrite(&text) {
            tracing::warn!(file = %self.path.display(), %error, "cannot record the newest revision");
        }
    }

    /// Empties the file: the database was set aside, and the next one need not contain the acknowledged revisions.
    pub(crate) fn forget(&self) -> io::Result<()> {
        self.file.clear()
    }
}
