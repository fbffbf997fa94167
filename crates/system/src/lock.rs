//! Lock files: the kernel guarantees that the holder of a lock is alive. Used for `supervisor.lock`, the journals of
//! the teams and sandbox trials.
//!
//! This module never unlinks a lock file: otherwise two processes could each lock a different file at the same path.
//! Other programs may unlink a lock file: see [`FileLock::is_at`]. The kernel releases the lock when the holder's last
//! descriptor closes, even if the process is killed; descriptors are close-on-exec.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;

/// A held lock. Dropping the value releases the lock.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Acquires the lock, and creates the file (0600) if it does not exist. `None` when the lock is held, by this
    /// process or by another process.
    ///
    /// # Errors
    /// The file cannot be opened, is a symbolic link, or cannot be locked.
    pub fn try_acquire(path: &Path) -> io::Result<Option<FileLock>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        loop {
            if acquired(file.try_lock())? {
                return Ok(Some(FileLock { file }));
            }
            // The exclusive attempt also fails while a concurrent call of `is_held` briefly holds a shared lock. If a
            // shared lock succeeds, no process holds the lock exclusively, so try again; otherwise there is a real
            // holder.
            if !acquired(file.try_lock_shared())? {
                return Ok(None);
            }
        }
    }

    /// Whether the path still names the locked file. If not, another process can hold a lock at the same path.
    pub fn is_at(&self, path: &Path) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let locked = self.file.metadata().map(identity).ok();
        locked.is_some() && locked == fs::symlink_metadata(path).map(identity).ok()
    }

    /// Whether any process holds the lock. False if the file does not exist.
    pub fn is_held(path: &Path) -> io::Result<bool> {
        match OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
        {
            Ok(file) => Ok(!acquired(file.try_lock_shared())?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Overwrites the beginning of the file in one write, without a sync. If the old and the new text have the same
    /// length, the file contains one of the two texts after a crash of this process.
    pub fn overwrite(&self, text: &str) -> io::Result<()> {
        self.file.write_all_at(text.as_bytes(), 0)
    }

    /// Empties the file.
    pub fn clear(&self) -> io::Result<()> {
        self.file.set_len(0)
    }

    /// The file's text, up to 4 KiB.
    pub fn text(&self) -> io::Result<String> {
        let mut bytes = [0; 4096];
        let read = self.file.read_at(&mut bytes, 0)?;
        Ok(String::from_utf8_lossy(&bytes[..read]).into_owned())
    }

    /// Replaces the file's content. A concurrent reader may see a part of it.
    pub fn write_contents(&mut self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }

    /// The file's content, whether the lock is held or not; `None` if the file does not exist.
    pub fn contents(path: &Path) -> io::Result<Option<String>> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Converts the result of an attempt to lock: false when the lock is held.
fn acquired(result: Result<(), TryLockError>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
