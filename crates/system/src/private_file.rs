//! Files that only their owner may read: launch files with their tokens, environments, keys and secrets. Called by the
//! supervisor, the store, the workers, the clients of language models, the HTTP service and the command line.
//!
//! No function follows a symlink, and no function reads a file that other users may access. Errors contain the path.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::stat::Mode;

/// Creates a file with mode 0600.
///
/// # Errors
/// The path exists, or the file cannot be created or written.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create_new(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|error| with_path(path, error))
}

/// Creates a named pipe with mode 0600.
///
/// # Errors
/// The path exists, or the pipe cannot be created.
pub fn create_pipe(path: &Path) -> io::Result<()> {
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    nix::unistd::mkfifo(path, mode).map_err(|error| with_path(path, error.into()))
}

/// Atomically replaces a file by a new one with mode 0600: readers see the old or the new content. The content is not
/// synced, so the file may be empty after a power failure: use this only for files that can be lost or written again.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // The pid makes the name of the temporary file unique among processes: two processes that replace the same file at
    // once each rename a complete file, and the later file stays. Within one process, callers must not replace a file
    // concurrently.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let replaced = write_and_rename(&temporary, path, bytes);
    if replaced.is_err() {
        // The temporary file may not exist. Report the first error.
        let _removed = fs::remove_file(&temporary);
    }
    replaced.map_err(|error| with_path(path, error))
}

fn write_and_rename(temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    // An earlier process with the same pid may have left an incomplete file.
    discard(temporary)?;
    let mut file = create_new(temporary)?;
    file.write_all(bytes)?;
    fs::rename(temporary, path)
}

/// Reads a file.
///
/// # Errors
/// The file cannot be read, or is not a regular file of this user without permissions for other users.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_checked(path).map_err(|error| with_path(path, error))
}

/// Reads a file and removes it. If several callers race, only the caller that unlinks the file gets the bytes. The
/// others get `None`; so does every caller if the file does not exist.
///
/// # Errors
/// As for [`read`], except for a missing file. A refused file is not removed.
pub fn take(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let bytes = match read_checked(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(with_path(path, error)),
    };
    Ok(discard(path)?.then_some(bytes))
}

/// Removes a file. Returns whether this call removed it.
pub fn discard(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(with_path(path, error)),
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
    // Open without blocking: the open of a planted FIFO would otherwise block before the FIFO is refused.
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
        "it is accessible to other users"
    } else {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        return Ok(bytes);
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, refusal))
}

fn with_path(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
