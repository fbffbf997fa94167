//! The lock of one team: it keeps a second writer out, and its file contains the newest revision that was acknowledged.
//!
//! A write-ahead log that was removed, emptied or replaced by an older one leaves a database that reads well and has lost
//! its newest events. The revision in the lock's file shows that. Held by [`crate::Writer`], in a file of its own: SQLite's
//! POSIX locks on the database end when any descriptor of the database is closed in this process.
//!
//! The file is written at each commit and never synced. After a power cut it may contain an older revision, which is no
//! contradiction. With [`Durability::Process`] the journal itself may lose its newest events in a power cut. The file then
//! names the boot under which it was written, and counts only under that boot.

use std::io;
use std::path::{Path, PathBuf};

use agent_team_system::clock;
use agent_team_system::lock::FileLock;

use crate::open::{Durability, OpenError};

/// Beside the database.
const NAME: &str = "team.lock";

/// In place of a boot's id: the revision counts under every boot.
const EVERY_BOOT: &str = "any";

/// Whether a writer holds the lock of the team in this directory.
pub fn is_locked(dir: &Path) -> io::Result<bool> {
    FileLock::is_held(&dir.join(NAME))
}

#[derive(Debug)]
pub(crate) struct TeamLock {
    path: PathBuf,
    file: FileLock,
    boot: String,
}

impl TeamLock {
    /// `None` when another writer holds it.
    pub(crate) fn acquire(dir: &Path, durability: Durability) -> io::Result<Option<Self>> {
        let path = dir.join(NAME);
        let Some(file) = FileLock::try_acquire(&path)? else {
            return Ok(None);
        };
        let boot = match durability {
            Durability::Power => EVERY_BOOT.to_owned(),
            Durability::Process => clock::boot_id()?,
        };
        Ok(Some(Self { path, file, boot }))
    }

    /// The newest revision that is known to have been acknowledged, or 0.
    fn acknowledged(&self) -> io::Result<u64> {
        let text = self.file.text()?;
        let known = text.trim().split_once(' ').and_then(|(revision, boot)| {
            let counts = boot == EVERY_BOOT || clock::boot_id().is_ok_and(|now| now == boot);
            revision.parse().ok().filter(|_| counts)
        });
        Ok(known.unwrap_or(0))
    }

    /// Refuses a database that ends before what was acknowledged.
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

    /// Notes that everything up to this revision is acknowledged from now on.
    pub(crate) fn note(&self, revision: u64) {
        // One length, so that a crash leaves one of the two.
        let text = format!("{revision:020} {}\n", self.boot);
        if let Err(error) = self.file.overwrite(&text) {
            tracing::warn!(file = %self.path.display(), %error, "cannot record the newest revision");
        }
    }

    /// The database was set aside: what it had is not missing from the next one.
    pub(crate) fn forget(&self) -> io::Result<()> {
        self.file.clear()
    }
}
