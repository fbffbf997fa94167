//! Lock files: who holds one is alive, by the kernel's word. Called for `supervisor.lock`.
//!
//! We never unlink a lock file: two processes could then hold "the" lock on two files. Others may: see [`FileLock::is_at`].
//! The lock goes when its holder's last descriptor does, however it dies; descriptors are close-on-exec.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;

/// A held lock; dropping it releases it.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Creates the file (0600) when it is not there. `None` when somebody else holds it.
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
            if taken(file.try_lock())? {
                return Ok(Some(FileLock { file }));
            }
            // `is_held` holds it shared for an instant. Where a shared lock is to be had, nobody
            // holds it exclusively, and trying again is right.
            if !taken(file.try_lock_shared())? {
                return Ok(None);
            }
        }
    }

    /// Whether the file at this path is the one that this lock holds. Where it is not, another process can hold a lock
    /// at the path.
    pub fn is_at(&self, path: &Path) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let own = self.file.metadata().map(identity).ok();
        own.is_some() && own == fs::symlink_metadata(path).map(identity).ok()
    }

    /// Whether somebody holds it. No file: nobody does.
    pub fn is_held(path: &Path) -> io::Result<bool> {
        match OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
        {
            Ok(file) => Ok(!taken(file.try_lock_shared())?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts text at the beginning of the file, in one write and without a sync: after a crash of this process the file
    /// contains the old text or the new one, if both are of one length.
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

    /// Replaces what the file says. A reader may see it half written.
    pub fn write_contents(&mut self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }

    /// What the file says, held or not; `None` without a file.
    pub fn contents(path: &Path) -> io::Result<Option<String>> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn taken(result: Result<(), TryLockError>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
