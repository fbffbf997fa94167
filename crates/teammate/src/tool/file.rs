//! Text files as a whole: read within a limit, replaced in one step. Called by `write` and `edit`.
//!
//! A file is only ever replaced by a complete one, and only if it still is what the model has seen. What is asked about
//! is the diff, and what is written afterwards are the bytes that it was made of.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use agent_team_policy::Digest;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde_json::json;

use super::change::{Diff, diff};
use super::permit::Permission;
use super::place::{Place, failed};
use super::{Bench, Output, ToolError, Version, off_thread, unique};

/// Longest file that is changed, or read without saying which lines, in bytes.
pub(super) const WHOLE_MAX: u64 = 8 << 20;

/// How much of a file is looked at for a NUL, which text does not have.
pub(super) const LOOKED_AT: usize = 8 << 10;

/// An existing file, as it was at one moment.
#[derive(Debug)]
pub(super) struct Existing {
    pub(super) bytes: Vec<u8>,
    version: Version,
    mode: u32,
}

impl Existing {
    /// Reads the file that the model is about to change. `None` when there is none.
    ///
    /// # Errors
    /// When it is huge, or not what the model has seen: `known`.
    pub(super) fn read(place: &Place, known: Option<Version>) -> Result<Option<Self>, ToolError> {
        let Some((file, version)) = place.open()? else {
            return Ok(None);
        };
        check(place, version, known)?;
        let name = place.shown();
        if version.len > WHOLE_MAX {
            return Err(ToolError::Failed(format!(
                "{name} has {} bytes: files above {WHOLE_MAX} bytes are not changed as a whole",
                version.len
            )));
        }
        let read = || {
            let mode = file.metadata()?.permissions().mode() & 0o7777;
            let mut bytes = Vec::new();
            (&file).take(WHOLE_MAX + 1).read_to_end(&mut bytes)?;
            Ok(Self {
                bytes,
                version,
                mode,
            })
        };
        read().map(Some).map_err(|error| failed(&name, &error))
    }

    /// Text has no NUL.
    pub(super) fn is_binary(&self) -> bool {
        is_binary(&self.bytes)
    }
}

pub(super) fn is_binary(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(LOOKED_AT)].contains(&0)
}

fn check(place: &Place, now: Version, known: Option<Version>) -> Result<(), ToolError> {
    let why = match known {
        None => "exists and you have not read it",
        Some(known) if known != now => "has changed since you read it",
        Some(_) => return Ok(()),
    };
    let name = place.shown();
    Err(ToolError::Failed(format!(
        "{name} {why}: read it, then decide again"
    )))
}

/// A file as it would be, which nobody has written yet.
#[derive(Debug)]
pub(super) struct Change {
    place: Place,
    old: Option<Existing>,
    new: Vec<u8>,
    /// What the model is told when it is done.
    done: String,
    diff: Diff,
}

impl Change {
    pub(super) fn new(place: Place, old: Option<Existing>, new: Vec<u8>, done: String) -> Self {
        let before = old.as_ref().map(|old| old.bytes.as_slice());
        let diff = diff(&place.shown(), before, &new);
        Self {
            place,
            old,
            new,
            done,
            diff,
        }
    }

    /// Writes it once that is permitted. `given`: the path as the model says it.
    ///
    /// # Errors
    /// When it is not, or the file is another one by then.
    pub(super) async fn carry_out(
        self,
        tool: &str,
        given: &str,
        permission: &Permission,
        bench: &Bench,
        shown: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Output, ToolError> {
        let diff = bench.secrets.hide(&self.diff.text);
        let mut asked = json!({ "path": given, "diff": diff });
        if !self.diff.whole || diff != self.diff.text {
            // What is not shown is decided about as well.
            asked["sha256"] = Digest::of_bytes(&self.new).to_string().into();
        }
        let _permit = permission.ask(tool, &asked, false, bench, shown).await?;
        let (place, version, output) = off_thread(move || {
            let version = replace(&self.place, self.old.as_ref(), &self.new)?;
            let output = Output {
                text: self.done,
                diff: Some(self.diff.text),
            };
            Ok((self.place, version, output))
        })
        .await?;
        bench.remember(&place, version);
        Ok(output)
    }
}

/// Puts `bytes` in the place of `old`, or where there is nothing, in one step; readers see the one or the other.
///
/// # Errors
/// When the file is no longer `old`, or the system refuses.
fn replace(place: &Place, old: Option<&Existing>, bytes: &[u8]) -> Result<Version, ToolError> {
    let name = place.name()?;
    let wrong = |error: std::io::Error| failed(&place.shown(), &error);
    let directory = place
        .directory(old.is_none())
        .map_err(|error| wrong(error.into()))?;
    let temporary = format!(".agent-team-{}", unique().map_err(wrong)?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from(if old.is_some() { 0o600 } else { 0o666 });
    let written = rustix::fs::openat(&directory, &temporary, flags, mode)
        .map_err(std::io::Error::from)
        .and_then(|file| fill(File::from(file), old, bytes));
    let replaced = written.map_err(wrong).and_then(|version| {
        unchanged(place, old)?;
        match old {
            Some(_) => rustix::fs::renameat(&directory, &temporary, &directory, name),
            None => put_new(&directory, &temporary, name),
        }
        .map_err(|error| wrong(error.into()))?;
        Ok(version)
    });
    if replaced.is_err() {
        // It may not have been created; there is nothing better to say than the first error.
        let _removed = rustix::fs::unlinkat(&directory, &temporary, AtFlags::empty());
    }
    replaced
}

/// A link fails where there is something by now, which a renaming would replace. Not every file system has links.
fn put_new(directory: &OwnedFd, temporary: &str, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::linkat(directory, temporary, directory, name, AtFlags::empty()) {
        Ok(()) => rustix::fs::unlinkat(directory, temporary, AtFlags::empty()),
        Err(Errno::PERM | Errno::OPNOTSUPP) => {
            rustix::fs::renameat(directory, temporary, directory, name)
        }
        Err(error) => Err(error),
    }
}

fn fill(mut file: File, old: Option<&Existing>, bytes: &[u8]) -> std::io::Result<Version> {
    file.write_all(bytes)?;
    if let Some(old) = old {
        file.set_permissions(PermissionsExt::from_mode(old.mode))?;
    }
    file.sync_all()?;
    Ok(Version::of(&file.metadata()?))
}

/// Whether somebody else was quicker. What happens between this look and the renaming is not seen.
fn unchanged(place: &Place, old: Option<&Existing>) -> Result<(), ToolError> {
    let now = place.open()?.map(|(_, version)| version);
    if now == old.map(|old| old.version) {
        return Ok(());
    }
    Err(ToolError::Failed(format!(
        "{} has changed since you read it: read it, then decide again",
        place.shown()
    )))
}

impl Bench {
    /// What the model has seen of a file.
    pub(super) fn known(&self, place: &Place) -> Option<Version> {
        let seen = self
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        seen.get(&place.path()).copied()
    }

    pub(super) fn remember(&self, place: &Place, version: Version) {
        let mut seen = self
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        seen.insert(place.path(), version);
    }
}
