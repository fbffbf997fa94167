//! Placeholders: what stands on the disk where a protected path does not exist, while a sandbox runs. Called by
//! [`crate::sandbox::Sandbox::spawn`].
//!
//! bubblewrap can mount something read-only over a path only where something is. So an empty directory or a neutral
//! file is made there first, and removed afterwards:
//!
//! ```text
//! Placeholders::make ── shared lock on the project's directory ── placeholders made ── sandbox starts
//!                         │ the sandbox holds the lock, too, as long as a process runs in it
//! dropped ── exclusive lock? ── yes: every placeholder is removed
//!                            └─ no: another sandbox runs; the last one removes them
//! ```
//! Unlinking a mount point takes the mount away in other namespaces (Linux 3.18), hence the lock: a placeholder is
//! removed only when no sandbox runs in this project. The kernel releases the lock with the last process, also after
//! SIGKILL; what is left then, the next call removes.
//!
//! A placeholder is known by its content, its mode and its time together; any other file is the user's and stays.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, RenameFlags};

/// When every placeholder was changed last, in seconds of Unix time: the second 1,000,000,000.
const TIME: u64 = 1_000_000_000;

/// The user may write to them: what they wrote to is a placeholder no longer.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// What the name of a placeholder begins with until it is complete.
const UNFINISHED: &str = ".agent-team-placeholder-";

/// How often a lock is tried, and how long apart: another process holds it while it removes placeholders.
const TRIES: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(2);

/// The same for the lock of a sandbox that has just ended: its last process closes the lock's descriptor a moment after
/// the others see it end.
const END_TRIES: u32 = 10;

/// A path that may not exist, and must not come to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    pub path: PathBuf,
    /// The content of a file; `None` for a directory.
    pub content: Option<&'static str>,
}

/// The paths that must not come to exist while a program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsentPaths {
    /// Whose lock says that sandboxes need the placeholders: the project.
    pub directory: PathBuf,
    pub all: Vec<Absent>,
}

/// The placeholders of one running sandbox.
#[derive(Debug)]
pub struct Placeholders {
    /// The project's directory, locked. Closed, not unlocked: the sandbox shares the lock.
    lock: Option<File>,
    paths: AbsentPaths,
}

impl Placeholders {
    /// Makes what is missing. Within a parent that is missing, too, nothing is made. May wait for the lock.
    pub(crate) fn make(paths: &AbsentPaths) -> io::Result<Placeholders> {
        let lock = File::open(&paths.directory)?;
        let mut tries = 0;
        loop {
            match lock.try_lock_shared() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < TRIES => thread::sleep(BETWEEN),
                Err(error) => {
                    let directory = paths.directory.display();
                    return Err(io::Error::other(format!(
                        "cannot lock {directory}: {error}"
                    )));
                }
            }
            tries += 1;
        }
        let placeholders = Placeholders {
            lock: Some(lock),
            paths: paths.clone(),
        };
        for absent in &paths.all {
            absent.make()?;
        }
        Ok(placeholders)
    }

    /// Removes them, unless another sandbox needs them. Waits a moment for the end of the sandbox.
    pub fn remove(mut self) {
        self.lock = None;
        for _ in 0..END_TRIES {
            if self.paths.remove_placeholders() {
                return;
            }
            thread::sleep(BETWEEN);
        }
    }

    /// A lock of its own for the sandbox to inherit.
    pub(crate) fn lock(&self) -> io::Result<Option<OwnedFd>> {
        let lock = self.lock.as_ref().map(File::try_clone).transpose()?;
        Ok(lock.map(OwnedFd::from))
    }
}

impl Drop for Placeholders {
    fn drop(&mut self) {
        self.lock = None;
        self.paths.remove_placeholders();
    }
}

impl AbsentPaths {
    /// Removes the placeholders that are there. Does nothing, and returns false, while a sandbox needs them.
    pub fn remove_placeholders(&self) -> bool {
        let Ok(lock) = File::open(&self.directory) else {
            return true;
        };
        if lock.try_lock().is_err() {
            return false;
        }
        for absent in &self.all {
            if let Err(error) = absent.remove() {
                let path = absent.path.display();
                tracing::warn!(%path, %error, "cannot remove a placeholder");
            }
        }
        let parents = self.all.iter().filter_map(|absent| absent.path.parent());
        let parents: BTreeSet<&Path> = parents.collect();
        for parent in parents {
            for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                    // Its maker would hold the lock.
                    let _removed = remove_any(&entry.path());
                }
            }
        }
        true
    }
}

fn remove_any(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|_| fs::remove_dir(path))
}

impl Absent {
    /// Whether a placeholder is there. A path that cannot be read is none.
    pub fn is_placeholder(&self) -> bool {
        self.look().unwrap_or(false)
    }

    fn look(&self) -> io::Result<bool> {
        let found = match fs::symlink_metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let time = u64::try_from(found.mtime()) == Ok(TIME) && found.mtime_nsec() == 0;
        let mode = found.mode() & 0o7777;
        if !time || found.uid() != nix::unistd::geteuid().as_raw() {
            return Ok(false);
        }
        match self.content {
            None => {
                let empty = || Ok::<_, io::Error>(fs::read_dir(&self.path)?.next().is_none());
                Ok(found.is_dir() && mode == DIRECTORY_MODE && empty()?)
            }
            Some(content) => {
                let same = || Ok::<_, io::Error>(fs::read(&self.path)? == content.as_bytes());
                let is_file = found.is_file() && mode == FILE_MODE;
                Ok(is_file && found.len() == content.len() as u64 && same()?)
            }
        }
    }

    /// Complete when its name appears: another process takes it for a user's file otherwise.
    fn make(&self) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let Some(parent) = self.path.parent() else {
            return Ok(());
        };
        if fs::symlink_metadata(&self.path).is_ok() {
            return Ok(());
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unfinished = parent.join(format!("{UNFINISHED}{}-{number}", std::process::id()));
        let made = self.make_at(&unfinished).and_then(|()| {
            rustix::fs::renameat_with(CWD, &unfinished, CWD, &self.path, RenameFlags::NOREPLACE)
                .map_err(io::Error::from)
        });
        let Err(error) = made else { return Ok(()) };
        let _removed = remove_any(&unfinished);
        // The user, or another sandbox, was faster; or no program of this user can make anything there.
        let is_kept = matches!(
            error.kind(),
            io::ErrorKind::AlreadyExists
                | io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem
        );
        if is_kept {
            return Ok(());
        }
        let path = self.path.display();
        let text = format!("cannot keep {path} from being made: {error}");
        Err(io::Error::new(error.kind(), text))
    }

    fn make_at(&self, path: &Path) -> io::Result<()> {
        let file = match self.content {
            None => {
                DirBuilder::new().mode(0o700).create(path)?;
                File::open(path)?
            }
            Some(content) => {
                let mut options = OpenOptions::new();
                let mut file = options
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)?;
                file.write_all(content.as_bytes())?;
                file
            }
        };
        let mode = if self.content.is_some() {
            FILE_MODE
        } else {
            DIRECTORY_MODE
        };
        file.set_permissions(Permissions::from_mode(mode))?;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(TIME);
        file.set_times(FileTimes::new().set_modified(time))
    }

    fn remove(&self) -> io::Result<()> {
        match (self.look()?, self.content) {
            (false, _) => Ok(()),
            (true, None) => fs::remove_dir(&self.path),
            (true, Some(_)) => fs::remove_file(&self.path),
        }
    }
}
