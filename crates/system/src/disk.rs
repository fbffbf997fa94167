//! Disk checks for the store: whether a file is still at its path, how much space is free, and a reserve file. Called
//! by the store, at each commit and when the disk is full, and by the tools, which limit the disk space of commands.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use crate::os;

/// Identity of a file, independent of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
}

/// The path no longer names the open file, or cannot be inspected. Data that is written to the file now may be lost.
#[derive(Debug, thiserror::Error)]
pub enum FileIdentityError {
    #[error("{0} was removed")]
    Removed(PathBuf),
    #[error("{0} was replaced by another file")]
    Replaced(PathBuf),
    #[error("cannot inspect {path}")]
    Unknown { path: PathBuf, source: io::Error },
}

impl FileIdentity {
    pub fn of(file: &File) -> io::Result<FileIdentity> {
        file.metadata()
            .map(|metadata| FileIdentity::from(&metadata))
    }

    /// Checks that `path` still names this file. One system call; follows no symlink.
    pub fn check(&self, path: &Path) -> Result<(), FileIdentityError> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if FileIdentity::from(&metadata) != *self => {
                Err(FileIdentityError::Replaced(path.to_owned()))
            }
            // The path is a hard link to the file, so the link count need not be checked.
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(FileIdentityError::Removed(path.to_owned()))
            }
            Err(source) => Err(FileIdentityError::Unknown {
                path: path.to_owned(),
                source,
            }),
        }
    }
}

impl From<&fs::Metadata> for FileIdentity {
    fn from(metadata: &fs::Metadata) -> FileIdentity {
        FileIdentity {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// Bytes that this user may still write to the disk of this path. A file system that reports no size, as some network
/// and FUSE file systems do, counts as having unlimited space.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    if disk.f_blocks == 0 {
        return Ok(u64::MAX);
    }
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Creates a reserve file (0600) of at least this size with its blocks allocated. [`release`] frees the blocks when the
/// disk is full, so that urgent records can still be stored.
///
/// # Errors
/// The file cannot be created or its blocks cannot be allocated. A partial reserve is removed.
pub fn reserve(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    let reserved = os::allocate(&file, bytes);
    if reserved.is_err() {
        // A partial reserve would only make the shortage worse.
        let _released = release(path);
    }
    reserved
}

/// Frees the reserve's blocks. False when there was no reserve.
pub fn release(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
