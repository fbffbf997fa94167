//! Checks that the scripts of a trusted line still have the content that the user trusted. Called right before such a
//! line runs outside the sandbox, because agents can write the project's files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use agent_team_protocol::spec::FileDigest;
use agent_team_protocol::text::hex;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

/// A script that does not have the content that the user trusted.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// The script changed, was removed or cannot be read.
    #[error(
        "script {} changed since you trusted it, or cannot be read; review it, then run agent-team up to trust it \
         again",
        .0.display()
    )]
    Changed(PathBuf),
    #[error(
        "script {} did not exist when you trusted the line that starts it; review it, then run agent-team up to trust it",
        .0.display()
    )]
    Created(PathBuf),
}

/// Checks each script.
///
/// # Errors
/// The first script that changed, was removed, was created or cannot be read.
pub fn check(files: &[FileDigest]) -> Result<(), Untrusted> {
    for file in files {
        let path = || file.path.clone();
        match (read(&file.path), file.is_absent()) {
            (Err(error), true) if is_absence(&error) => {}
            // A program that a build creates has no digest, even if it existed when the line was trusted.
            (Ok(bytes), true) if is_program(&bytes) => {}
            (_, true) => return Err(Untrusted::Created(path())),
            (Ok(bytes), false) if hex(&Sha256::digest(&bytes)) == file.sha256 => {}
            (_, false) => return Err(Untrusted::Changed(path())),
        }
    }
    Ok(())
}

fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// Whether the kernel executes these bytes as machine code. A NUL byte alone does not make a program: a shell would
/// still run a text with a NUL byte as a script, which an agent could have written.
fn is_program(bytes: &[u8]) -> bool {
    /// ELF; Mach-O of 32 and 64 bits in the byte order of its machine; universal Mach-O.
    const MAGIC: [[u8; 4]; 4] = [
        *b"\x7fELF",
        [0xce, 0xfa, 0xed, 0xfe],
        [0xcf, 0xfa, 0xed, 0xfe],
        [0xca, 0xfe, 0xba, 0xbe],
    ];
    MAGIC.iter().any(|magic| bytes.starts_with(magic))
}

/// Reads a regular file. An agent could create a pipe there, which would block this thread, or a link to a device.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_script_is_trusted_until_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("check.sh");
        fs::write(&path, "").unwrap();
        let files = [FileDigest {
            path: path.clone(),
            // SHA-256 of an empty file.
            sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned(),
        }];
        assert!(check(&[]).is_ok() && check(&files).is_ok());
        fs::write(&path, "x").unwrap();
        assert!(check(&files).unwrap_err().to_string().contains("check.sh"));
        fs::remove_file(&path).unwrap();
        assert!(check(&files).is_err());
        let pipe = nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU);
        pipe.unwrap();
        assert!(check(&files).is_err());
    }

    #[test]
    fn an_absent_script_is_trusted_until_it_is_created() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tools/check.sh");
        let files = [FileDigest {
            path: path.clone(),
            sha256: FileDigest::ABSENT.to_owned(),
        }];
        assert!(check(&files).is_ok());
        fs::create_dir(directory.path().join("tools")).unwrap();
        assert!(check(&files).is_ok());
        fs::write(&path, "").unwrap();
        let error = check(&files).unwrap_err().to_string();
        assert!(error.contains("did not exist when you trusted"), "{error}");
        fs::write(&path, b"#!/bin/sh\nexit 0\n\0").unwrap();
        assert!(check(&files).is_err(), "a script with a NUL byte");
        fs::write(&path, b"\x7fELF\0").unwrap();
        assert!(check(&files).is_ok(), "a program, not a script");
    }
}
