//! Placeholders: files and directories that exist at absent protected paths while a sandbox runs. Called by
//! [`crate::sandbox::Sandbox::spawn`].
//!
//! bubblewrap can mount only over a path that exists. So an empty directory or a file without effect is created there
//! first, mounted read-only, and removed afterwards:
//!
//! ```text
//! Placeholders::make ── shared lock on the project's directory ── create placeholders ── sandbox starts
//!                         │ the sandbox also holds the lock as long as a process runs in it
//! drop ── exclusive lock? ── yes: remove every placeholder
//!                         └─ no: another sandbox runs; the last one removes them
//! ```
//! Since Linux 3.18 unlinking a mount point detaches the mount in other namespaces, and the path would be unprotected
//! in a sandbox that still runs. Hence the lock: placeholders are removed only when no sandbox runs in this project.
//! The kernel releases the lock when the last process exits, even by SIGKILL. The next
//! [`AbsentPaths::remove_placeholders`] removes leftover placeholders.
//!
//! A placeholder is recognised by its content, owner, mode and time stamp together; any other file belongs to the user
//! and is never removed.

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

/// Modification time of every placeholder, in seconds of Unix time.
const TIME: u64 = 1_000_000_000;

/// Modes of placeholders. The user may write to them; a file that was written is no longer a placeholder.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Prefix of the name of a placeholder that is not yet complete.
const UNFINISHED: &str = ".agent-team-placeholder-";

/// Number and interval of attempts to get the shared lock: another process holds the exclusive lock while it removes
/// placeholders.
const TRIES: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(2);

/// Attempts for the lock of a sandbox that has just ended: its last process closes the lock's descriptor a moment after
/// its exit becomes visible.
const END_TRIES: u32 = 10;

/// A path that may be absent, and that must then not be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    pub path: PathBuf,
    /// The content of a file; `None` for a directory.
    pub content: Option<&'static str>,
}

/// The paths that must not be created while a program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsentPaths {
    /// The project's directory. Sandboxes that need the placeholders hold a lock on it.
    pub directory: PathBuf,
    pub all: Vec<Absent>,
}

/// The placeholders of one running sandbox.
#[derive(Debug)]
pub struct Placeholders {
    /// The locked project directory. It is closed, not unlocked: an unlock would also release the lock for the sandbox,
    /// which shares the open file description.
    lock: Option<File>,
    paths: AbsentPaths,
}

impl Placeholders {
    /// Creates placeholders at the absent paths, except in absent parent directories. May wait for the lock.
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

    /// Removes the placeholders, unless another sandbox needs them. Waits a moment for the last process of this
    /// sandbox.
    pub fn remove(mut self) {
        self.lock = None;
        for _ in 0..END_TRIES {
            if self.paths.remove_placeholders() {
                return;
            }
            thread::sleep(BETWEEN);
        }
    }

    /// A descriptor of the lock that the sandbox inherits.
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
    /// Removes the placeholders. Does nothing and returns false while a sandbox needs them.
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
                    // The file is abandoned: a process that still creates a placeholder would hold the lock.
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
    /// Whether the path is a placeholder; false if it cannot be inspected.
    pub fn is_placeholder(&self) -> bool {
        self.check().unwrap_or(false)
    }

    fn check(&self) -> io::Result<bool> {
        let found = match fs::symlink_metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let has_time = u64::try_from(found.mtime()) == Ok(TIME) && found.mtime_nsec() == 0;
        let mode = found.mode() & 0o7777;
        if !has_time || found.uid() != nix::unistd::geteuid().as_raw() {
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

    /// Creates the placeholder under a temporary name and renames it when it is complete. Otherwise another process
    /// could see an incomplete placeholder and take it for a user's file.
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
        // These errors are expected: the user or another sandbox has created the path meanwhile, or no program of this
        // user can create anything there.
        let is_expected = matches!(
            error.kind(),
            io::ErrorKind::AlreadyExists
                | io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem
        );
        if is_expected {
            return Ok(());
        }
        let path = self.path.display();
        let text = format!("cannot create a placeholder at {path}: {error}");
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
        match (self.check()?, self.content) {
            (false, _) => Ok(()),
            (true, None) => fs::remove_dir(&self.path),
            (true, Some(_)) => fs::remove_file(&self.path),
        }
    }
}
