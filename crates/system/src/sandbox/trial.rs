//! The directories of a sandbox trial. Called by [`super::find`].
//!
//! A trial removes its directory when it ends. While it runs, its process holds the lock file in the directory. A new
//! trial removes directories of this user whose lock is free: their processes were killed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::lock::FileLock;
use crate::os;

const PREFIX: &str = "agent-team-trial-";

/// Directories younger than this are not removed: their process may not have created the lock yet.
const YOUNG: Duration = Duration::from_secs(60);

/// The directories of one trial. Dropping the value removes them with their content.
pub(super) struct Trial {
    pub(super) root: PathBuf,
    _lock: FileLock,
}

impl Trial {
    /// Creates a trial in the system's directory for temporary files. Removes abandoned trials there.
    pub(super) fn new() -> io::Result<Trial> {
        let directory = fs::canonicalize(std::env::temp_dir())?;
        remove_abandoned(&directory);
        Trial::within(&directory)
    }

    pub(super) fn within(directory: &Path) -> io::Result<Trial> {
        // Hosted members share a process, and can run trials at the same time.
        static TRIALS: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "{PREFIX}{}-{}-{}",
            std::process::id(),
            os::monotonic_ms(),
            TRIALS.fetch_add(1, Ordering::Relaxed)
        );
        let root = directory.join(name);
        // This call fails if the directory exists: another user may have created it.
        fs::create_dir(&root)?;
        let lock = FileLock::try_acquire(&root.join("lock"))?
            .ok_or_else(|| io::Error::other("another process holds the lock of this trial"))?;
        let trial = Trial { root, _lock: lock };
        let directories = [
            trial.inside(),
            trial.outside(),
            trial.hidden(),
            trial.scratch(),
        ];
        for directory in directories {
            fs::create_dir(directory)?;
        }
        fs::write(trial.hidden().join("file"), "secret\n")?;
        Ok(trial)
    }

    pub(super) fn inside(&self) -> PathBuf {
        self.root.join("inside")
    }

    fn outside(&self) -> PathBuf {
        self.root.join("outside")
    }

    pub(super) fn hidden(&self) -> PathBuf {
        self.root.join("hidden")
    }

    pub(super) fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// Checks from outside the sandbox which files the trial created. The exit status alone is not enough: the program
    /// could have written to another view of the file system.
    pub(super) fn check(&self) -> io::Result<()> {
        let was_written = |directory: PathBuf| directory.join("made").try_exists();
        match (was_written(self.inside())?, was_written(self.outside())?) {
            (true, false) => Ok(()),
            (false, _) => Err(io::Error::other(
                "the trial could not write inside its directory",
            )),
            (true, true) => Err(io::Error::other(
                "the trial could write outside its directory",
            )),
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            tracing::warn!(path = %self.root.display(), %error, "cannot remove a sandbox trial");
        }
    }
}

/// Removes the trial directories of this user that are older than [`YOUNG`] and that no process has locked.
pub(super) fn remove_abandoned(directory: &Path) {
    let user = nix::unistd::geteuid().as_raw();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let path = entry.path();
        if let Err(error) = remove_if_abandoned(&path, user) {
            // This is expected when another process removes the directory at the same time.
            tracing::debug!(path = %path.display(), %error, "cannot remove an abandoned sandbox trial");
        }
    }
}

fn remove_if_abandoned(path: &Path, user: u32) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    let age = found.modified()?.elapsed().unwrap_or_default();
    if !found.is_dir() || found.uid() != user || age < YOUNG {
        return Ok(());
    }
    match FileLock::try_acquire(&path.join("lock"))? {
        Some(_lock) => fs::remove_dir_all(path),
        None => Ok(()),
    }
}
