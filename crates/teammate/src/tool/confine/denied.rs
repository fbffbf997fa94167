//! The files of the project that a `Read` rule denies, so that bubblewrap hides them from commands as well. Called for
//! each sandboxed command of a team that has such rules.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::guard::Guard;

/// Entries of directories that are looked at, and how long that may take.
const ENTRIES_MAX: usize = 200_000;
const TIME_MAX: Duration = Duration::from_secs(2);

/// Files that are hidden, at most: bubblewrap takes 9,000 arguments, three for each.
const HIDDEN_MAX: usize = 2_000;

/// Git's objects: named by their digest, and too many.
const OBJECTS: &str = ".git/objects";

/// Files and directories that exist now. For a link that a rule denies, its target, when that is in the project. A rule
/// for files below a linked directory denies them where they are, if it names the link in so many words: a pattern such
/// as `*/key` does not.
///
/// # Errors
/// When the project is too large to find them all: a command that could read one of them is not started.
pub(super) fn within(project: &Path, guard: &Guard) -> io::Result<Vec<PathBuf>> {
    if guard.is_empty() {
        return Ok(Vec::new());
    }
    let end = Instant::now() + TIME_MAX;
    let mut entries = 0;
    let mut denied = Vec::new();
    // Each directory, and how the rules name it: otherwise only below a link.
    let mut queue = VecDeque::from([(project.to_owned(), project.to_owned())]);
    while let Some((directory, named)) = queue.pop_front() {
        // A directory that cannot be listed here cannot be listed by a command.
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            entries += 1;
            if entries > ENTRIES_MAX || denied.len() > HIDDEN_MAX || Instant::now() > end {
                return Err(io::Error::other(
                    "cannot hide all files that a Read rule denies: there are too many files in the project",
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
                // A link cannot be hidden: its target is. The link can name the project itself, which must stay.
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
