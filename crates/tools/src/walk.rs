//! Walks the files of a directory as git sees them: without ignored files and without `.git`. Called by `glob` and
//! `grep`.
//!
//! Each walk runs on its own thread. It opens every file by descriptor below the project (see `system::beneath`),
//! follows no link, and stops when its caller has dropped the future or its time limit is reached. A thread that is
//! blocked by the file system is abandoned.

use std::ffi::OsString;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use agent_team_system::beneath::Beneath;
use globset::{GlobBuilder, GlobMatcher};
use rustix::fs::{AtFlags, Dir, FileType};

use crate::guard::Guard;
use crate::ignored::{IGNORE_FILES, Ignored, Level};
use crate::resolved_path::{ResolvedPath, failed};
use crate::tool::ToolError;

const TIMEOUT: Duration = Duration::from_secs(30);

/// The additional time that the caller waits for a walk to stop.
const GRACE: Duration = Duration::from_secs(2);

/// The condition that stops a walk: time limit or cancellation.
#[derive(Clone, Debug)]
pub(super) struct Deadline {
    given_up: Arc<AtomicBool>,
    until: Instant,
}

impl Deadline {
    pub(super) fn is_over(&self) -> bool {
        self.given_up.load(Ordering::Relaxed) || Instant::now() > self.until
    }
}

/// Runs a walk on its own thread; dropping the future stops it.
pub(super) async fn with_deadline<T: Send + 'static>(
    walk: impl FnOnce(Deadline) -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    within(TIMEOUT, GRACE, walk).await
}

async fn within<T: Send + 'static>(
    limit: Duration,
    grace: Duration,
    walk: impl FnOnce(Deadline) -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    struct GiveUpOnDrop(Arc<AtomicBool>);
    impl Drop for GiveUpOnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let given_up = Arc::new(AtomicBool::new(false));
    let deadline = Deadline {
        given_up: Arc::clone(&given_up),
        until: Instant::now() + limit,
    };
    let _guard = GiveUpOnDrop(given_up);
    let (finished, result) = tokio::sync::oneshot::channel();
    // The runtime's blocking pool is not used: a shutdown of the runtime would wait for a thread that is blocked by the
    // file system.
    std::thread::Builder::new()
        .name("walk".to_owned())
        .spawn(move || {
            // If the caller has given up, there is no receiver.
            let _sent = finished.send(walk(deadline));
        })
        .map_err(|error| ToolError::Failed(format!("cannot start a thread: {error}")))?;
    match tokio::time::timeout(limit + grace, result).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(ToolError::Failed("a bug in this tool".to_owned())),
        Err(_) => Err(ToolError::Failed(format!(
            "the search did not finish within {} s: the file system does not respond. Set another `path`",
            limit.as_secs()
        ))),
    }
}

/// A regular file below the walked directory.
#[derive(Debug)]
pub(super) struct Found<'a> {
    /// The absolute path, for display.
    pub(super) path: PathBuf,
    /// The path relative to the walked directory.
    pub(super) relative: PathBuf,
    root: &'a Beneath,
    in_root: PathBuf,
}

impl Found<'_> {
    /// Opens the file.
    ///
    /// # Errors
    /// If the file cannot be opened or is no longer a regular file, or if its path now contains a link.
    pub(super) fn open(&self) -> rustix::io::Result<File> {
        self.root.regular(&self.in_root)
    }

    pub(super) fn modified(&self) -> Option<SystemTime> {
        self.open().ok()?.metadata().ok()?.modified().ok()
    }
}

/// A directory whose entries are being walked.
struct Frame {
    /// The path of the directory, relative to the root.
    directory: PathBuf,
    entries: std::vec::IntoIter<Entry>,
    /// The number of ignore levels that remain when the directory is done.
    levels: usize,
}

struct Entry {
    name: OsString,
    kind: FileType,
}

/// Calls `visit` for every file that is neither ignored nor guarded, sorted by path. Stops when `visit` returns
/// `Break`. Returns whether the walk is complete.
///
/// # Errors
/// If the directory or one of its parents cannot be opened.
pub(super) fn files(
    resolved: &ResolvedPath,
    guard: &Guard,
    deadline: &Deadline,
    mut visit: impl FnMut(Found<'_>) -> ControlFlow<()>,
) -> Result<bool, ToolError> {
    let cannot = |error: rustix::io::Errno| failed(&resolved.display(), &error.into());
    let beneath = Beneath::new(resolved.root()).map_err(cannot)?;
    let mut ignored = Ignored::around(resolved.root());
    // The walk starts at the given path, but the ignore files between the root and this path apply as well.
    let mut parents: Vec<&Path> = resolved.relative().ancestors().skip(1).collect();
    parents.reverse();
    for parent in parents {
        let opened = beneath.directory(parent).map_err(cannot)?;
        ignored.push(Level::of(
            &opened,
            &IGNORE_FILES,
            &resolved.root().join(parent),
        ));
    }
    let opened = beneath.directory(resolved.relative()).map_err(cannot)?;
    let mut stack = vec![enter(
        resolved,
        resolved.relative().to_owned(),
        opened,
        &mut ignored,
        deadline,
    )];
    while let Some(frame) = stack.last_mut() {
        if deadline.is_over() {
            return Ok(false);
        }
        let Some(entry) = frame.entries.next() else {
            ignored.truncate(frame.levels);
            stack.pop();
            continue;
        };
        let in_root = frame.directory.join(&entry.name);
        let path = resolved.root().join(&in_root);
        let is_dir = entry.kind.is_dir();
        if !(is_dir || entry.kind.is_file()) || ignored.covers(&path, is_dir) {
            continue;
        }
        if is_dir {
            // Skip a directory that cannot be read, or that was replaced by a link.
            if let Ok(opened) = beneath.directory(&in_root) {
                let entered = enter(resolved, in_root, opened, &mut ignored, deadline);
                stack.push(entered);
            }
            continue;
        }
        if guard.covers(&path) {
            continue;
        }
        let relative = in_root.strip_prefix(resolved.relative());
        let found = Found {
            relative: relative.unwrap_or(&in_root).to_owned(),
            path,
            root: &beneath,
            in_root,
        };
        if visit(found).is_break() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Lists a directory and adds the level of its ignore files.
fn enter(
    resolved: &ResolvedPath,
    directory: PathBuf,
    opened: OwnedFd,
    ignored: &mut Ignored,
    deadline: &Deadline,
) -> Frame {
    let mut entries = list(&opened, deadline).unwrap_or_default();
    let has = |name: &&str| entries.iter().any(|entry| entry.name == **name);
    let files: Vec<&str> = IGNORE_FILES.into_iter().filter(|name| has(name)).collect();
    entries.retain(|entry| entry.name != ".git");
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let levels = ignored.len();
    ignored.push(Level::of(
        &opened,
        &files,
        &resolved.root().join(&directory),
    ));
    Frame {
        directory,
        entries: entries.into_iter(),
        levels,
    }
}

fn list(directory: &OwnedFd, deadline: &Deadline) -> rustix::io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory)? {
        if entries.len() % 1024 == 1023 && deadline.is_over() {
            break;
        }
        let entry = entry?;
        let name = entry.file_name();
        if [&b"."[..], b".."].contains(&name.to_bytes()) {
            continue;
        }
        let mut kind = entry.file_type();
        if kind == FileType::Unknown {
            // Some file systems do not report the type in directory entries.
            let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
            kind = stat.map_or(kind, |stat| FileType::from_raw_mode(stat.st_mode));
        }
        let name = std::ffi::OsStr::from_bytes(name.to_bytes()).to_owned();
        entries.push(Entry { name, kind });
    }
    Ok(entries)
}

/// Parses a path pattern: `*` matches within a directory, `**` across directories; a pattern without `/` matches file
/// names.
pub(super) fn pattern(field: &str, text: &str) -> Result<GlobMatcher, ToolError> {
    let whole = match text.strip_prefix("./").unwrap_or(text) {
        name if !name.contains('/') => format!("**/{name}"),
        path => path.to_owned(),
    };
    GlobBuilder::new(&whole)
        .literal_separator(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| ToolError::Input(format!("`{field}`: {}", error.kind())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_blocked_walk_is_abandoned_at_its_limit() {
        let (held, blocked) = std::sync::mpsc::channel::<()>();
        let (gave_up, receiver) = std::sync::mpsc::channel();
        let zero = Duration::ZERO;
        let walk = within(zero, zero, move |deadline| {
            // Blocks until the test ends, like a file system that does not respond.
            let _end = blocked.recv();
            gave_up.send(deadline.is_over()).unwrap();
            Ok(())
        });
        let error = walk.await.unwrap_err().to_string();
        assert!(error.contains("did not finish within 0 s"), "{error}");
        drop(held);
        assert_eq!(receiver.recv(), Ok(true));
    }
}
