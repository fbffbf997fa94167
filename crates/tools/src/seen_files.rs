//! The versions of the files that a member's model has read or written. The file tools record these versions; the edit
//! tools change an existing file only if its version is recorded.
//!
//! The agent loop stores the changes of the record with the results of the calls, and restores the record after a
//! restart. After the restart, the model need not read unchanged files again.

use std::collections::{BTreeMap, HashMap};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

#[derive(Debug, Default)]
pub struct SeenFiles(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    versions: HashMap<PathBuf, Version>,
    unstored: BTreeMap<String, Option<Version>>,
}

/// A change of the record, as the transcript stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenFile {
    /// The absolute path of the file.
    path: String,
    /// `None`: the file is gone, or has a new name.
    version: Option<Version>,
}

/// A file's version when the model read or wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub len: u64,
    /// The modification time since the Unix epoch, in nanoseconds; saturates.
    pub modified_ns: i64,
}

impl Version {
    pub fn of(metadata: &Metadata) -> Version {
        let seconds = metadata.mtime().saturating_mul(1_000_000_000);
        Version {
            len: metadata.len(),
            modified_ns: seconds.saturating_add(metadata.mtime_nsec()),
        }
    }
}

impl Record {
    fn apply(&mut self, path: PathBuf, version: Option<Version>) {
        match version {
            Some(version) => self.versions.insert(path, version),
            None => self.versions.remove(&path),
        };
    }
}

impl SeenFiles {
    /// The version that the model knows. `None`: the model has neither read nor written the file.
    pub(crate) fn version(&self, path: &Path) -> Option<Version> {
        self.record().versions.get(path).copied()
    }

    /// Sets the version that the model knows. `None`: the file no longer exists under this path.
    pub fn set(&self, path: PathBuf, version: Option<Version>) {
        let mut record = self.record();
        // A path that is not UTF-8 is not stored: after a restart, the model reads the file again.
        if let Some(path) = path.to_str() {
            record.unstored.insert(path.to_owned(), version);
        }
        record.apply(path, version);
    }

    /// Takes the changes since the last call, one per file, to store them.
    pub fn take_unstored(&self) -> Vec<SeenFile> {
        let unstored = std::mem::take(&mut self.record().unstored);
        let files = unstored.into_iter();
        files
            .map(|(path, version)| SeenFile { path, version })
            .collect()
    }

    /// Restores the record from all stored changes, oldest first.
    pub fn restore(&self, stored: Vec<SeenFile>) {
        let mut record = self.record();
        for SeenFile { path, version } in stored {
            record.apply(path.into(), version);
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
