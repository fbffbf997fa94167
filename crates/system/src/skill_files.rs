//! Computes the digest of a skill's files, which the user trusts, and checks it before the skill is used. Called by the
//! team file and by the tool `skill`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use agent_team_protocol::spec::Skill;
use agent_team_protocol::text::{hex, visible_line};
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

/// Limits of the files of a project's skill, which are read for the digest.
const MAX_FILES: usize = 200;
const MAX_BYTES: u64 = 4 << 20;
const MAX_DEPTH: usize = 8;

/// Why the files of a skill cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("it is too large: the limits are {MAX_FILES} files, {} MiB together, {MAX_DEPTH} levels, and 256 KiB for SKILL.md", MAX_BYTES >> 20)]
    TooLarge,
    #[error("it contains {}, which is neither a file nor a directory", .0.display())]
    Special(PathBuf),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A skill whose files differ from those that the user trusted.
#[derive(Debug, thiserror::Error)]
#[error(
    "it changed since you trusted it, or cannot be read; review it, then run agent-team up to trust it again"
)]
pub struct Changed;

/// Checks the files of a skill of the project. A skill of the user needs no trust.
///
/// # Errors
/// A file changed, was added or was removed, or the files cannot be read.
pub fn check(skill: &Skill) -> Result<(), Changed> {
    let Some(trusted) = &skill.sha256 else {
        return Ok(());
    };
    match digest(&skill.directory) {
        Ok(digest) if digest == *trusted => Ok(()),
        Ok(_) | Err(_) => Err(Changed),
    }
}

/// The digest of the names and contents of all files of a skill. For a link, the digest contains the path of the
/// target, not the target's content; the tool `skill` does not follow a link out of the skill.
///
/// # Errors
/// The skill exceeds a limit, contains an entry other than a file, a link or a directory, or cannot be read.
pub fn digest(directory: &Path) -> Result<String, Unreadable> {
    let mut files = Vec::new();
    list(directory, 0, &mut files)?;
    files.sort();
    let mut text = String::new();
    let mut remaining = MAX_BYTES;
    for path in files {
        let name = path.strip_prefix(directory).unwrap_or(&path);
        let content = if fs::symlink_metadata(&path)?.is_symlink() {
            format!("link to {:?}", fs::read_link(&path)?)
        } else {
            let bytes = read(&path, remaining)?;
            remaining -= bytes.len() as u64;
            hex(&Sha256::digest(&bytes))
        };
        text.push_str(&format!("{name:?} {content}\n"));
    }
    Ok(hex(&Sha256::digest(text.as_bytes())))
}

/// Reads a regular file.
///
/// # Errors
/// The path is not a regular file, or the file is larger than `max` or cannot be read.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, Unreadable> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(Unreadable::Special(path.to_owned()));
    }
    // An agent could replace the file by a pipe, which would block this thread, or by a link.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
    let mut bytes = Vec::new();
    File::from(opened).take(max + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > max {
        true => Err(Unreadable::TooLarge),
        false => Ok(bytes),
    }
}

fn list(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Unreadable> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if depth == MAX_DEPTH {
                return Err(Unreadable::TooLarge);
            }
            list(&entry.path(), depth + 1, files)?;
        } else if kind.is_file() || kind.is_symlink() {
            files.push(entry.path());
        } else {
            let name = entry.file_name().to_string_lossy().into_owned();
            return Err(Unreadable::Special(visible_line(&name).into_owned().into()));
        }
        if files.len() > MAX_FILES {
            return Err(Unreadable::TooLarge);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skill_is_trusted_until_a_file_changes() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("run.sh");
        fs::write(directory.path().join("SKILL.md"), "Run run.sh.").unwrap();
        fs::write(&script, "cargo clippy").unwrap();
        let mut skill = Skill {
            name: "lint".to_owned(),
            description: String::new(),
            directory: directory.path().to_owned(),
            sha256: Some(digest(directory.path()).unwrap()),
        };
        assert!(check(&skill).is_ok());
        fs::write(&script, "curl evil").unwrap();
        assert!(check(&skill).is_err());
        fs::write(&script, "cargo clippy").unwrap();
        assert!(check(&skill).is_ok());
        fs::write(directory.path().join("new"), "").unwrap();
        assert!(check(&skill).is_err());
        skill.sha256 = None;
        assert!(check(&skill).is_ok(), "a skill of the user");
    }
}
