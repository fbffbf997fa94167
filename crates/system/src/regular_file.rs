//! Reads the beginning of a file by a path that was resolved earlier: another process may have replaced the file or a
//! directory above it since. Called for instruction files, skills and command files.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use agent_team_protocol::spec::FileDigest;
use agent_team_protocol::text::hex;
use nix::libc;
use sha2::{Digest, Sha256};

/// The beginning of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    pub bytes: Vec<u8>,
    /// The file has more bytes.
    pub is_cut: bool,
}

/// Reads at most `max` bytes of a regular file.
///
/// # Errors
/// The file cannot be read, is not a regular file, or `path` is no longer canonical: a link replaced one of its parts.
pub fn read_beginning(path: &Path, max: u64) -> io::Result<Beginning> {
    if path.canonicalize()? != path {
        return Err(io::Error::other("a symlink replaced a part of its path"));
    }
    // Open without blocking: the open of a FIFO would otherwise block before the FIFO is refused.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    let is_cut = bytes.len() as u64 > max;
    bytes.truncate(usize::try_from(max).unwrap_or(usize::MAX));
    Ok(Beginning { bytes, is_cut })
}

/// Reads a whole file, and checks that its content still has the digest.
///
/// # Errors
/// The errors of [`read_beginning`], or the file is larger than `max` bytes, or its content has another digest.
pub fn read_unchanged(file: &FileDigest, max: u64) -> io::Result<Vec<u8>> {
    let Beginning { bytes, is_cut } = read_beginning(&file.path, max)?;
    match !is_cut && hex(&Sha256::digest(&bytes)) == file.sha256 {
        true => Ok(bytes),
        false => Err(io::Error::other("it changed since the team started")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_regular_files_without_links_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let file = root.join("AGENTS.md");
        fs::write(&file, "12345").unwrap();
        let read = |max| read_beginning(&file, max).map(|it| (it.bytes, it.is_cut));
        assert_eq!(read(5).unwrap(), (b"12345".to_vec(), false));
        assert_eq!(read(4).unwrap(), (b"1234".to_vec(), true));
        fs::rename(&file, root.join("other")).unwrap();
        symlink(root.join("other"), &file).unwrap();
        assert!(read(5).is_err(), "a link");
        fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(5).is_err(), "a FIFO");
        assert!(
            read_beginning(Path::new("/dev/zero"), 5).is_err(),
            "a device"
        );
    }
}
