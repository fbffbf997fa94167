//! Reads and replaces whole text files. Called by `write` and `edit`.
//!
//! A file is replaced atomically by a complete file, and only if it is still the version that the model has read. The
//! permission request contains the diff. The bytes from which the diff was made are written afterwards.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use agent_team_policy::Digest;
use agent_team_system::random;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde_json::json;

use crate::adapter::Call;
use crate::change::{Diff, diff};
use crate::context::{ToolContext, Version};
use crate::permission::Permission;
use crate::resolved_path::{ResolvedPath, failed};
use crate::tool::{Output, ToolError, off_thread};

/// The largest file, in bytes, that is changed, or read without a line range.
pub(super) const WHOLE_MAX: u64 = 8 << 20;

#[derive(Debug)]
pub(super) struct Existing {
    pub(super) bytes: Vec<u8>,
    version: Version,
    mode: u32,
}

impl Existing {
    /// Reads a file that the model wants to change. Returns `None` if it does not exist.
    ///
    /// # Errors
    /// If the file cannot be read, is too large, or is not the version `known` that the model has read.
    pub(super) fn read(
        resolved: &ResolvedPath,
        known: Option<Version>,
    ) -> Result<Option<Self>, ToolError> {
        let Some((file, version)) = resolved.open()? else {
            return Ok(None);
        };
        check(resolved, version, known)?;
        let name = resolved.display();
        if version.len > WHOLE_MAX {
            return Err(ToolError::Failed(format!(
                "{name} has {} bytes: files over {WHOLE_MAX} bytes cannot be edited",
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
}

fn check(resolved: &ResolvedPath, now: Version, known: Option<Version>) -> Result<(), ToolError> {
    let why = match known {
        None => "exists and you have not read it",
        Some(known) if known != now => "has changed since you read it",
        Some(_) => return Ok(()),
    };
    let name = resolved.display();
    Err(ToolError::Failed(format!(
        "{name} {why}: read it before you change it"
    )))
}

/// A change that is not written to its file yet.
#[derive(Debug)]
pub(super) struct Change {
    resolved: ResolvedPath,
    old: Option<Existing>,
    new: Vec<u8>,
    /// The tool's result after the change.
    done: String,
    diff: Diff,
}

impl Change {
    pub(super) fn new(
        resolved: ResolvedPath,
        old: Option<Existing>,
        new: Vec<u8>,
        done: String,
    ) -> Self {
        let before = old.as_ref().map(|old| old.bytes.as_slice());
        let diff = diff(&resolved.display(), before, &new);
        Self {
            resolved,
            old,
            new,
            done,
            diff,
        }
    }

    /// Requests permission and writes the file. `given` is the path from the call.
    ///
    /// # Errors
    /// If permission is denied, the file has changed meanwhile, or it cannot be written.
    pub(super) async fn apply(
        self,
        call: Call<'_>,
        given: &str,
        permission: &Permission,
    ) -> Result<Output, ToolError> {
        let context = call.context;
        let diff = context.secrets.redact(&self.diff.text);
        let mut request = json!({ "path": given, "diff": diff });
        if !self.diff.whole || diff != self.diff.text {
            // A truncated or redacted diff does not show every change, so the request's digest also covers the new
            // content, and the numbers of lines are those of the whole change.
            request["added"] = self.diff.added.into();
            request["removed"] = self.diff.removed.into();
            request["sha256"] = Digest::of_bytes(&self.new).to_string().into();
        }
        let _permit = permission.ask(call, &request, None).await?;
        let (resolved, version, output) = off_thread(move || {
            let version = replace(&self.resolved, self.old.as_ref(), &self.new)?;
            let output = Output {
                text: self.done,
                diff: Some(self.diff.text),
                changed: Some(self.resolved.path()),
            };
            Ok((self.resolved, version, output))
        })
        .await?;
        context.remember(&resolved, version);
        Ok(output)
    }
}

/// Atomically replaces `old`, or creates the file, with `bytes`.
///
/// # Errors
/// If the file has changed since `old` was read, or on an I/O error.
fn replace(
    resolved: &ResolvedPath,
    old: Option<&Existing>,
    bytes: &[u8],
) -> Result<Version, ToolError> {
    let name = resolved.name()?;
    let wrong = |error: std::io::Error| failed(&resolved.display(), &error);
    let directory = resolved
        .directory(old.is_none())
        .map_err(|error| wrong(error.into()))?;
    let temporary = format!(".agent-team-{}", random::id());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from(if old.is_some() { 0o600 } else { 0o666 });
    let written = rustix::fs::openat(&directory, &temporary, flags, mode)
        .map_err(std::io::Error::from)
        .and_then(|file| fill(File::from(file), old, bytes));
    let replaced = written.map_err(wrong).and_then(|version| {
        unchanged(resolved, old)?;
        match old {
            Some(_) => rustix::fs::renameat(&directory, &temporary, &directory, name),
            None => create_new(&directory, &temporary, name),
        }
        .map_err(|error| wrong(error.into()))?;
        Ok(version)
    });
    if replaced.is_err() {
        // The temporary file may not exist; only the first error is reported.
        let _removed = rustix::fs::unlinkat(&directory, &temporary, AtFlags::empty());
    }
    replaced
}

/// Creates a file without replacing an existing one: a hard link fails if the name exists, but a rename replaces the
/// file. On a file system without hard links, renames the temporary file.
fn create_new(directory: &OwnedFd, temporary: &str, name: &OsStr) -> rustix::io::Result<()> {
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

/// Fails if the file has changed since the model read it. A change between this check and the rename is not detected.
fn unchanged(resolved: &ResolvedPath, old: Option<&Existing>) -> Result<(), ToolError> {
    let now = resolved.open()?.map(|(_, version)| version);
    if now == old.map(|old| old.version) {
        return Ok(());
    }
    Err(ToolError::Failed(format!(
        "{} has changed since you read it: read it before you change it",
        resolved.display()
    )))
}

impl ToolContext {
    /// The version of the file that the model has read or written; `None` if it has done neither.
    pub(super) fn known(&self, resolved: &ResolvedPath) -> Option<Version> {
        let seen = self
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        seen.get(&resolved.path()).copied()
    }

    pub(super) fn remember(&self, resolved: &ResolvedPath, version: Version) {
        let mut seen = self
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        seen.insert(resolved.path(), version);
    }
}
