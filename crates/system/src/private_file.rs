//! Files that only their owner may read: launch files with their tokens, environments. Called by
//! the supervisor and the workers, inside directories that [`crate::directories`] has checked.
//!
//! Nothing here follows a symlink, and nothing is read that somebody else could have written.
//! Errors name the file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

/// Creates a file with mode 0600; fails when there is anything at that path.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create_new(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|error| name(path, error))
}

/// Puts a file with mode 0600 in the place of whatever file was there: readers see the old one or
/// the new one. After a power cut it may be empty: for what is written anew after each boot.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let replaced = write_and_rename(&temporary, path, bytes);
    if replaced.is_err() {
        // It may not have been created; there is nothing better to say than the first error.
        let _removed = fs::remove_file(&temporary);
    }
    replaced.map_err(|error| name(path, error))
}

fn write_and_rename(temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What an earlier process with our pid left half written.
    discard(temporary)?;
    let mut file = create_new(temporary)?;
    file.write_all(bytes)?;
    fs::rename(temporary, path)
}

/// Reads a file that must be a regular one, ours, and closed to everybody else.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_checked(path).map_err(|error| name(path, error))
}

/// Reads a file and removes it. Of several takers exactly one gets its bytes: the one whose unlink
/// succeeded. The others, and all when it was not there, get `None`.
pub fn take(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let bytes = match read_checked(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(name(path, error)),
    };
    Ok(discard(path)?.then_some(bytes))
}

/// Removes a file. True if it was this call that did.
pub fn discard(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(name(path, error)),
    }
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

fn read_checked(path: &Path) -> io::Result<Vec<u8>> {
    // Non-blocking, so that a planted FIFO does not hold us up before it is refused.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    let refusal = if !metadata.is_file() {
        "it is not a regular file"
    } else if metadata.uid() != nix::unistd::geteuid().as_raw() {
        "it belongs to another user"
    } else if metadata.mode() & 0o077 != 0 {
        "others than its owner may use it"
    } else {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        return Ok(bytes);
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, refusal))
}

fn name(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
