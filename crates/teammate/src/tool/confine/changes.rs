//! Protected paths that were made or changed while a command ran. Called after each sandboxed command.
//!
//! bubblewrap keeps the protected paths of the project from changes; nothing keeps those in a directory below (a nested
//! repository, a package with settings of its own), and Landlock keeps none. They are found here afterwards, by the time
//! at which the kernel says a file changed, which a program cannot set. The user may have made the change as well:
//! nothing is removed or moved, it is reported.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use agent_team_policy::protected::{GIT, GIT_DIRECTORY, GIT_WORKTREE, PROJECT};
use agent_team_protocol::spec::KeptPath;
use agent_team_system::sandbox::Absent;

/// Entries of directories that are looked at. The walk begins at the project's directory, so that what is nearest to it
/// is found in a project of any size.
const ENTRIES_MAX: usize = 50_000;

/// How long the walk may take, unless it is that near to its beginning: a busy machine shortens no small project's report.
const TIME_MAX: Duration = Duration::from_millis(500);
const ENTRIES_MIN: usize = 2_000;

/// Paths that are reported, at most: of all, and of one protected directory.
const REPORTED_MAX: usize = 20;
const REPORTED_OF_ONE: usize = 3;

/// What the sandbox kept from changes, from which no report is needed.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// What existed.
    pub(super) protected: Vec<PathBuf>,
    /// What did not, as long as a placeholder stands there: the user may have removed it.
    pub(super) absent: Vec<Absent>,
    /// What the sandbox cannot keep: a link can be replaced, and so can what is on the way to its target.
    pub(super) links: Vec<Link>,
    /// Paths that are protected besides the list.
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

/// What was made or changed while a command ran.
#[derive(Debug)]
pub(super) struct Changes {
    /// Relative to the project.
    paths: Vec<PathBuf>,
    /// A limit was reached before all files were checked.
    pub(super) is_partial: bool,
}

impl Kept {
    fn covers(&self, path: &Path) -> bool {
        let mut absent = self.absent.iter().filter(|absent| absent.path == path);
        self.protected.iter().any(|kept| kept == path) || absent.any(Absent::is_placeholder)
    }
}

/// What was made or changed since `start`.
pub(super) fn since(project: &Path, start: SystemTime, kept: &Kept) -> Changes {
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
        walk.all(other.path.clone());
    }
    walk.directories();
    walk.changes()
}

struct Walk<'a> {
    project: &'a Path,
    start: SystemTime,
    kept: &'a Kept,
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

    /// Called before each entry that is checked.
    fn is_over(&mut self) -> bool {
        let is_over = self.found.len() >= REPORTED_MAX
            || self.entries >= ENTRIES_MAX
            || (self.entries >= ENTRIES_MIN && Instant::now() > self.end);
        self.is_partial |= is_over;
        is_over
    }

    /// The links of the project's own protected paths. A command can also change where a link leads by renaming a
    /// directory on the way, which changes no time of the link.
    fn links(&mut self) {
        for link in &self.kept.links {
            match link.has_other_target() {
                true => self.found.push(link.path.clone()),
                false => self.look(&link.path),
            }
        }
    }

    /// From the project's directory down, level by level.
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
                    self.all(path);
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
            self.look(git);
            if let Some(target) = self.target(git).filter(|target| target.is_dir()) {
                self.git_files(&target);
            }
            return;
        }
        // Renaming a directory to `.git` changes its status and nothing in it; each commit changes its content as well.
        if time(found.mtime(), found.mtime_nsec()) < self.start {
            self.look(git);
        }
        self.git_files(git);
    }

    fn git_files(&mut self, git: &Path) {
        for protected in GIT {
            self.all(git.join(protected.path));
        }
        for entry in fs::read_dir(git.join("worktrees"))
            .into_iter()
            .flatten()
            .flatten()
        {
            for name in GIT_WORKTREE {
                self.look(&entry.path().join(name));
            }
        }
    }

    /// Where a link leads within the project. What is outside is not looked at: commands do not write there.
    fn target(&self, link: &Path) -> Option<PathBuf> {
        let is_link = link.is_symlink();
        let target = is_link.then(|| link.canonicalize().ok()).flatten()?;
        (target.starts_with(self.project) && target != self.project).then_some(target)
    }

    /// A file, or each file below a directory. For a link: the link and its target.
    ///
    /// A directory counts when its own status changed and nothing in it is reported: a directory that was made under
    /// another name keeps the times of its files when it is renamed.
    fn all(&mut self, path: PathBuf) {
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
                self.look(&path);
            }
        }
        // What is deeper was found later.
        for directory in directories.into_iter().rev() {
            if !self.found.iter().any(|found| found.starts_with(&directory)) {
                self.look(&directory);
            }
        }
    }

    fn look(&mut self, path: &Path) {
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

/// Git runs no hook of such a name; `git init` makes a dozen.
fn is_sample(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "sample")
}

fn time(seconds: i64, nanoseconds: i64) -> SystemTime {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let nanoseconds = u32::try_from(nanoseconds).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}

impl Changes {
    /// The report, for the model and the user; `None` when nothing is to be reported. `notify_partial`: also when no
    /// change was found, but not all files were checked.
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
            "warning: while this command ran, protected files were made or changed that the sandbox cannot protect: \
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
        let kept = Kept::default();
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
