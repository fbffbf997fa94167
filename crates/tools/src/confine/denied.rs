//! Finds the files of the project that `Read` rules deny or ask about, so that bubblewrap hides them from commands.
//! Called for each command in a sandbox that can hide files; does nothing in a team without such rules.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::guard::Guard;

/// The limits of the walk: directory entries, and time.
const ENTRIES_MAX: usize = 200_000;
const TIME_MAX: Duration = Duration::from_secs(2);

/// The largest number of hidden files: bubblewrap accepts 9,000 arguments and needs three for each file.
const HIDDEN_MAX: usize = 2_000;

/// Git's objects are skipped: they are named by digest, and there are too many.
const OBJECTS: &str = ".git/objects";

/// Existing files and directories that the guard covers. For a covered link, returns its target if the target is in the
/// project. A rule for files below a linked directory covers the files of the target if the rule names the link
/// literally. A pattern such as `*/key` does not cover them.
///
/// # Errors
/// If the walk reaches a limit, or more than [`HIDDEN_MAX`] files are covered: the command is then not started, since
/// it could read the files that are not hidden.
pub(super) fn within(project: &Path, guard: &Guard) -> io::Result<Vec<PathBuf>> {
    if guard.is_empty() {
        return Ok(Vec::new());
    }
    let end = Instant::now() + TIME_MAX;
    let mut entries = 0;
    let mut denied = Vec::new();
    // The directories to search, each with the path by which the rules name it. The two paths differ only below a link.
    let mut queue = VecDeque::from([(project.to_owned(), project.to_owned())]);
    while let Some((directory, named)) = queue.pop_front() {
        // Skip a directory that cannot be listed: a command cannot list it either.
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            entries += 1;
            if entries > ENTRIES_MAX || denied.len() > HIDDEN_MAX || Instant::now() > end {
                return Err(io::Error::other(
                    "cannot hide all files that Read rules deny or ask about: there are too many to search or to hide",
                ));
            }
            let (path, named) = (entry.path(), named.join(entry.file_name()));
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            let is_denied = guard.covers(&named);
            if kind.is_symlink() {
                if !is_denied && !guard.names(&named) {
                    continue;
                }
                // Hide the target, since a link cannot be hidden. The target must not be the project itself.
                let inside = |target: &PathBuf| target.starts_with(project) && target != project;
                match path.canonicalize().ok().filter(inside) {
                    Some(target) if is_denied => denied.push(target),
                    Some(target) if target.is_dir() => queue.push_back((target, named)),
                    Some(_) | None => {}
                }
                continue;
            }
            if is_denied {
                denied.push(path);
            } else if kind.is_dir() && !path.ends_with(OBJECTS) {
                queue.push_back((path, named));
            }
        }
    }
    denied.sort();
    denied.dedup();
    Ok(denied)
}
