//! Reads, replaces, creates and removes whole files. Called by `write`, `edit` and `apply_patch`.
//!
//! A file is replaced atomically by a complete file, and only if it is still the version that the model has read. The
//! permission request contains the diff. Once permission is granted, the call writes the same new bytes that it
//! compared for the diff.
//!
//! A call changes all its files or none: all new files are complete on the disk, under temporary names, before the
//! first file is changed. If a later change fails, the earlier files are restored, unless another program has changed
//! them meanwhile. A crash between two changes leaves the earlier files changed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use agent_team_policy::Digest;
use agent_team_system::random;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde_json::Value;

use crate::adapter::Call;
use crate::change::{Diff, diff};
use crate::permission::Permission;
use crate::resolved_path::{ResolvedPath, failed};
use crate::seen_files::Version;
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
    /// `None`: the file is removed.
    new: Option<Vec<u8>>,
    /// The permissions of the new file. `None`: the default permissions of new files.
    mode: Option<u32>,
    /// `None`: the diff of another change contains this change.
    diff: Option<Diff>,
}

impl Change {
    /// Replaces a file, or creates it.
    pub(super) fn new(resolved: ResolvedPath, old: Option<Existing>, new: Vec<u8>) -> Self {
        let name = resolved.display();
        let before = old.as_ref().map(|old| (name.as_str(), &old.bytes[..]));
        let diff = diff(before, Some((&name, &new)));
        Self {
            resolved,
            mode: old.as_ref().map(|old| old.mode),
            old,
            new: Some(new),
            diff: Some(diff),
        }
    }

    pub(super) fn removal(resolved: ResolvedPath, old: Existing) -> Self {
        let diff = diff(Some((&resolved.display(), &old.bytes)), None);
        Self {
            resolved,
            old: Some(old),
            new: None,
            mode: None,
            diff: Some(diff),
        }
    }

    /// Moves a file and gives it the content `new`. `to`: the new path, and the file there that the move replaces.
    pub(super) fn moved(
        from: (ResolvedPath, Existing),
        to: (ResolvedPath, Option<Existing>),
        new: Vec<u8>,
    ) -> [Self; 2] {
        let ((source, old), (target, replaced)) = (from, to);
        let (before, after) = (source.display(), target.display());
        let diff = diff(Some((&before, &old.bytes)), Some((&after, &new)));
        let target = Self {
            resolved: target,
            old: replaced,
            new: Some(new),
            mode: Some(old.mode),
            diff: Some(diff),
        };
        let source = Self {
            resolved: source,
            old: Some(old),
            new: None,
            mode: None,
            diff: None,
        };
        [target, source]
    }
}

/// Requests one permission for all the changes and makes them. `request`: the paths as written in the call. `done`: the
/// tool's result after the changes.
///
/// # Errors
/// If permission is denied, a file has changed meanwhile, or a file cannot be written. Then all files are unchanged,
/// except files that cannot be restored: the error names them.
pub(super) async fn apply(
    mut changes: Vec<Change>,
    done: String,
    mut request: Value,
    call: Call<'_>,
    permission: &Permission,
) -> Result<Output, ToolError> {
    let context = call.context;
    let diffs = changes.iter_mut().filter_map(|change| change.diff.take());
    let all = Diff::joined(diffs);
    all.put_into(&mut request, &context.secrets, || digest(&changes));
    let targets: Vec<PathBuf> = changes.iter().map(|it| it.resolved.path()).collect();
    let _permit = permission.ask_about(call, &request, &targets).await?;
    let (changes, versions) = off_thread(move || {
        let versions = make(&changes)?;
        Ok((changes, versions))
    })
    .await?;
    for (change, version) in changes.iter().zip(versions) {
        context.seen.set(change.resolved.path(), version);
    }
    Ok(Output {
        text: done,
        diff: Some(all.text),
        changed: changes.iter().map(|it| it.resolved.path()).collect(),
        media: Vec::new(),
    })
}

/// The digest of the new content. For several files, or a removed file, it also covers the path of each file.
fn digest(changes: &[Change]) -> Digest {
    if let [Change { new: Some(new), .. }] = changes {
        return Digest::of_bytes(new);
    }
    let lines = changes.iter().map(|change| {
        let content = match &change.new {
            Some(new) => Digest::of_bytes(new).to_string(),
            None => "removed".to_owned(),
        };
        // `{:?}` escapes newlines in paths.
        format!("{content} {:?}\n", change.resolved.path())
    });
    Digest::of_bytes(lines.collect::<String>().as_bytes())
}

/// Makes all the changes. If a change fails, restores the files of the earlier changes. Returns the version of each
/// file; `None` for a removed file.
fn make(changes: &[Change]) -> Result<Vec<Option<Version>>, ToolError> {
    // Check all files before any is staged: staging creates missing directories, which remain after an error.
    for change in changes {
        unchanged(&change.resolved, change.old.as_ref())?;
    }
    let staged: Result<Vec<Staged<'_>>, ToolError> = changes.iter().map(Staged::new).collect();
    let mut staged = staged?;
    for index in 0..staged.len() {
        let Err(error) = staged[index].commit() else {
            continue;
        };
        let not_restored: Vec<String> = staged[..index]
            .iter()
            .rev()
            .filter(|earlier| earlier.restore().is_err())
            .map(|earlier| earlier.change.resolved.display())
            .collect();
        return Err(match not_restored.as_slice() {
            [] => error,
            names => ToolError::Failed(format!(
                "{error}. These files are already changed and cannot be restored: {}",
                names.join(", ")
            )),
        });
    }
    Ok(staged.iter().map(|staged| staged.version).collect())
}

/// A change whose new file is complete, under a temporary name in the same directory. If this value is dropped before
/// the commit, the temporary file is removed.
struct Staged<'a> {
    change: &'a Change,
    directory: OwnedFd,
    temporary: Option<String>,
    version: Option<Version>,
}

impl<'a> Staged<'a> {
    fn new(change: &'a Change) -> Result<Self, ToolError> {
        let (resolved, old) = (&change.resolved, change.old.as_ref());
        let wrong = |error: std::io::Error| failed(&resolved.display(), &error);
        resolved.name()?;
        let directory = resolved
            .directory(old.is_none())
            .map_err(|error| wrong(error.into()))?;
        let mut staged = Self {
            change,
            directory,
            temporary: None,
            version: None,
        };
        if let Some(new) = &change.new {
            let temporary = staged.temporary.insert(temporary_name());
            let version =
                write_new(&staged.directory, temporary, change.mode, new).map_err(wrong)?;
            staged.version = Some(version);
        }
        Ok(staged)
    }

    /// # Errors
    /// If the file has changed since the model read it, or on an I/O error.
    fn commit(&mut self) -> Result<(), ToolError> {
        let Change { resolved, old, .. } = self.change;
        let name = resolved.name()?;
        unchanged(resolved, old.as_ref())?;
        let directory = &self.directory;
        match (&self.temporary, old) {
            (Some(temporary), Some(_)) => {
                rustix::fs::renameat(directory, temporary, directory, name)
            }
            (Some(temporary), None) => create_new(directory, temporary, name),
            (None, _) => rustix::fs::unlinkat(directory, name, AtFlags::empty()),
        }
        .map_err(|error| failed(&resolved.display(), &error.into()))?;
        self.temporary = None;
        Ok(())
    }

    /// Undoes [`Self::commit`]. Fails if another program has changed the file since.
    fn restore(&self) -> Result<(), ToolError> {
        let Change { resolved, old, .. } = self.change;
        let name = resolved.name()?;
        let wrong = |error: std::io::Error| failed(&resolved.display(), &error);
        let now = resolved.open()?.map(|(_, version)| version);
        if now != self.version {
            return Err(changed(resolved));
        }
        let directory = &self.directory;
        let Some(old) = old else {
            return rustix::fs::unlinkat(directory, name, AtFlags::empty())
                .map_err(|error| wrong(error.into()));
        };
        let temporary = temporary_name();
        let written = write_new(directory, &temporary, Some(old.mode), &old.bytes);
        let restored = written.and_then(|_| {
            let renamed = rustix::fs::renameat(directory, &temporary, directory, name);
            Ok(renamed?)
        });
        restored.map_err(|error| {
            remove(directory, &temporary);
            wrong(error)
        })
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            remove(&self.directory, temporary);
        }
    }
}

fn temporary_name() -> String {
    format!(".agent-team-{}", random::id())
}

/// Removes a temporary file if it exists. Errors are ignored.
fn remove(directory: &OwnedFd, temporary: &str) {
    let _removed = rustix::fs::unlinkat(directory, temporary, AtFlags::empty());
}

/// Creates a complete file. `mode`: its permissions; `None`: the default permissions of new files.
fn write_new(
    directory: &OwnedFd,
    name: &str,
    mode: Option<u32>,
    bytes: &[u8],
) -> std::io::Result<Version> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // `openat` applies the umask, so the exact permissions of a replaced file are set when its content is complete.
    // Until then, only the user can read the file.
    let created = Mode::from(if mode.is_some() { 0o600 } else { 0o666 });
    let file = rustix::fs::openat(directory, name, flags, created)?;
    fill(File::from(file), mode, bytes)
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

fn fill(mut file: File, mode: Option<u32>, bytes: &[u8]) -> std::io::Result<Version> {
    file.write_all(bytes)?;
    if let Some(mode) = mode {
        file.set_permissions(PermissionsExt::from_mode(mode))?;
    }
    // Sync before the file gets its final name: otherwise a power failure after the rename could leave an empty file.
    file.sync_all()?;
    Ok(Version::of(&file.metadata()?))
}

/// Fails if the file has changed since the model read it. A change between this check and the rename is not detected.
fn unchanged(resolved: &ResolvedPath, old: Option<&Existing>) -> Result<(), ToolError> {
    let now = resolved.open()?.map(|(_, version)| version);
    if now == old.map(|old| old.version) {
        return Ok(());
    }
    Err(changed(resolved))
}

fn changed(resolved: &ResolvedPath) -> ToolError {
    ToolError::Failed(format!(
        "{} has changed since you read it: read it before you change it",
        resolved.display()
    ))
}
