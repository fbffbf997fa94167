//! Finds protected paths that were created or changed while a command ran. Called after each sandboxed command.
//!
//! bubblewrap protects trusted scripts, and the listed paths at the top of the project, but no listed path in a nested
//! directory (a nested repository, a package with its own settings). Landlock protects no path. Changes are detected by
//! ctime, which a program cannot set. A change may have been made by the user. Therefore it is only reported: nothing
//! is removed or moved.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use agent_team_policy::protected::{GIT, GIT_DIRECTORY, GIT_WORKTREE, PROJECT};
use agent_team_protocol::spec::KeptPath;
use agent_team_system::sandbox::Absent;

/// The largest number of directory entries that are checked. The walk starts at the project's directory, so that files
/// near it are found in a project of any size.
const ENTRIES_MAX: usize = 50_000;

/// The time limit of the walk. The first [`ENTRIES_MIN`] entries are always checked, so that a busy machine does not
/// shorten the report of a small project.
const TIME_MAX: Duration = Duration::from_millis(500);
const ENTRIES_MIN: usize = 2_000;

/// The largest number of reported paths: in total, and per protected directory.
const REPORTED_MAX: usize = 20;
const REPORTED_OF_ONE: usize = 3;

/// The protected paths of one run of a command. The paths that the sandbox protects need no report; the other paths are
/// checked.
#[derive(Debug, Default)]
pub(super) struct ProtectedPaths {
    /// Protected paths that existed.
    pub(super) protected: Vec<PathBuf>,
    /// Paths for which the sandbox creates placeholders. A path needs no report only while its placeholder exists: the
    /// user may have removed the placeholder.
    pub(super) absent: Vec<Absent>,
    /// Links, which the sandbox cannot protect: a command can replace a link, or a directory on the path of the target.
    pub(super) links: Vec<Link>,
    /// Protected paths that are not in the lists of [`agent_team_policy::protected`].
    pub(super) others: Vec<KeptPath>,
}

/// A protected path that is a symbolic link, and its target when the command started.
#[derive(Debug)]
pub(super) struct Link {
    path: PathBuf,
    target: Option<PathBuf>,
}

impl Link {
    pub(super) fn new(path: PathBuf) -> Link {
        let target = path.canonicalize().ok();
        Link { path, target }
    }

    fn has_other_target(&self) -> bool {
        self.path.canonicalize().ok() != self.target
    }
}

#[derive(Debug)]
pub(super) struct Changes {
    /// The changed paths, relative to the project.
    paths: Vec<PathBuf>,
    /// Whether a limit was reached before all files were checked.
    pub(super) is_partial: bool,
}

impl ProtectedPaths {
    fn covers(&self, path: &Path) -> bool {
        let mut absent = self.absent.iter().filter(|absent| absent.path == path);
        self.protected.iter().any(|kept| kept == path) || absent.any(Absent::is_placeholder)
    }
}

pub(super) fn find_since(project: &Path, start: SystemTime, kept: &ProtectedPaths) -> Changes {
    let mut walk = Walk {
        project,
        start,
        kept,
        end: Instant::now() + TIME_MAX,
        entries: 0,
        found: Vec::new(),
        is_partial: false,
    };
    walk.links();
    for other in &kept.others {
        walk.check_tree(other.path.clone());
    }
    walk.directories();
    walk.changes()
}

struct Walk<'a> {
    project: &'a Path,
    start: SystemTime,
    kept: &'a ProtectedPaths,
    end: Instant,
    entries: usize,
    found: Vec<PathBuf>,
    is_partial: bool,
}

impl Walk<'_> {
    fn changes(self) -> Changes {
        let relative = |path: PathBuf| match path.strip_prefix(self.project) {
            Ok(relative) => relative.to_owned(),
            Err(_) => path,
        };
        let mut paths: Vec<PathBuf> = self.found.into_iter().map(relative).collect();
        paths.sort();
        paths.dedup();
        Changes {
            paths,
            is_partial: self.is_partial,
        }
    }

    /// Returns whether a limit is reached, and if so, marks the report as partial. Called before each entry is checked.
    fn is_over(&mut self) -> bool {
        let is_over = self.found.len() >= REPORTED_MAX
            || self.entries >= ENTRIES_MAX
            || (self.entries >= ENTRIES_MIN && Instant::now() > self.end);
        self.is_partial |= is_over;
        is_over
    }

    /// Checks the links among the project's own protected paths. If a directory on the target's path is renamed, the
    /// link has another target, but the ctime of the link does not change.
    fn links(&mut self) {
        for link in &self.kept.links {
            match link.has_other_target() {
                true => self.found.push(link.path.clone()),
                false => self.check(&link.path),
            }
        }
    }

    /// Walks the project's directories, level by level.
    fn directories(&mut self) {
        let mut queue = VecDeque::from([self.project.to_owned()]);
        while let Some(directory) = queue.pop_front() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                if self.is_over() {
                    return;
                }
                self.entries += 1;
                let (name, path) = (entry.file_name(), entry.path());
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if name == GIT_DIRECTORY {
                    self.git(&path);
                } else if PROJECT.iter().any(|protected| name == protected.path) {
                    self.check_tree(path);
                } else if is_directory {
                    queue.push_back(path);
                }
            }
        }
    }

    fn git(&mut self, git: &Path) {
        let Ok(found) = fs::symlink_metadata(git) else {
            return;
        };
        if !found.is_dir() {
            self.check(git);
            if let Some(target) = self.target(git).filter(|target| target.is_dir()) {
                self.git_files(&target);
            }
            return;
        }
        // Both times change with each commit. A rename of a directory to `.git` changes only the ctime of the
        // directory. Therefore a new ctime counts only if the mtime is old.
        if time(found.mtime(), found.mtime_nsec()) < self.start {
            self.check(git);
        }
        self.git_files(git);
    }

    fn git_files(&mut self, git: &Path) {
        for protected in GIT {
            self.check_tree(git.join(protected.path));
        }
        for entry in fs::read_dir(git.join("worktrees"))
            .into_iter()
            .flatten()
            .flatten()
        {
            for name in GIT_WORKTREE {
                self.check(&entry.path().join(name));
            }
        }
    }

    /// The target of a link; `None` if it is outside the project, where commands cannot write.
    fn target(&self, link: &Path) -> Option<PathBuf> {
        let is_link = link.is_symlink();
        let target = is_link.then(|| link.canonicalize().ok()).flatten()?;
        (target.starts_with(self.project) && target != self.project).then_some(target)
    }

    /// Checks a file, or each file below a directory. For a link, checks the link and its target.
    ///
    /// A directory is reported if its own ctime changed and no file in it is reported: files keep their times when
    /// their directory is renamed into place.
    fn check_tree(&mut self, path: PathBuf) {
        let enough = self.found.len() + REPORTED_OF_ONE;
        let mut directories = Vec::new();
        let mut stack: Vec<PathBuf> = self.target(&path).into_iter().collect();
        stack.push(path);
        while let Some(path) = stack.pop() {
            if self.is_over() || self.found.len() >= enough {
                return;
            }
            self.entries += 1;
            if self.kept.covers(&path) {
                continue;
            }
            if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                let below = fs::read_dir(&path).into_iter().flatten().flatten();
                let below: Vec<PathBuf> = below.map(|entry| entry.path()).collect();
                if below.is_empty() || !below.iter().all(|path| is_sample(path)) {
                    directories.push(path);
                }
                stack.extend(below);
            } else if !is_sample(&path) {
                self.check(&path);
            }
        }
        // Check inner directories, which come later in the list, before their parents: a reported directory covers its
        // parents.
        for directory in directories.into_iter().rev() {
            if !self.found.iter().any(|found| found.starts_with(&directory)) {
                self.check(&directory);
            }
        }
    }

    fn check(&mut self, path: &Path) {
        if self.kept.covers(path) {
            return;
        }
        let Ok(found) = fs::symlink_metadata(path) else {
            return;
        };
        if time(found.ctime(), found.ctime_nsec()) >= self.start {
            self.found.push(path.to_owned());
        }
    }
}

/// Returns whether a file is a sample hook. `git init` creates a dozen sample hooks, and git never runs them.
fn is_sample(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "sample")
}

fn time(seconds: i64, nanoseconds: i64) -> SystemTime {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let nanoseconds = u32::try_from(nanoseconds).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}

impl Changes {
    /// Formats the report for the model and the user; `None` if there is nothing to report. `notify_partial`: report an
    /// incomplete check even if no change was found.
    pub(super) fn report(&self, notify_partial: bool) -> Option<String> {
        if self.paths.is_empty() {
            let note = "note: the project is large: not all files were checked for changes to protected files";
            return (self.is_partial && notify_partial).then(|| note.to_owned());
        }
        let names: Vec<String> = self
            .paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let partial = match self.is_partial {
            true => "; not all files were checked",
            false => "",
        };
        Some(format!(
            "warning: protected files that the sandbox cannot protect were created or changed while this command ran: \
             {}{partial}. Other programs run or obey them later in the user's name. Report them to the user.",
            names.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_check_is_reported() {
        let project = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(project.path().join(name), "").unwrap();
        }
        let kept = ProtectedPaths::default();
        let walk = |entries| Walk {
            project: project.path(),
            start: SystemTime::UNIX_EPOCH,
            kept: &kept,
            end: Instant::now() + Duration::from_secs(60),
            entries,
            found: Vec::new(),
            is_partial: false,
        };
        let mut complete = walk(ENTRIES_MAX - 3);
        complete.directories();
        assert_eq!(complete.changes().report(true), None);
        let mut partial = walk(ENTRIES_MAX - 2);
        partial.directories();
        let mut partial = partial.changes();
        assert!(partial.is_partial);
        assert_eq!(partial.report(false), None);
        let note = partial.report(true).unwrap();
        assert!(note.contains("not all files were checked"), "{note}");
        partial.paths.push("sub/.vscode".into());
        let warning = partial.report(false).unwrap();
        assert!(
            warning.contains("sub/.vscode; not all files were checked"),
            "{warning}"
        );
    }
}
