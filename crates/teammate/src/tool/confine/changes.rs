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
use agent_team_system::sandbox::Absent;

/// Entries of directories that are looked at. The walk begins at the project's directory, so that what is nearest to it
/// is found in a project of any size.
const ENTRIES_MAX: usize = 50_000;

/// How long the walk may take.
const TIME_MAX: Duration = Duration::from_millis(500);

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
}

impl Kept {
    fn covers(&self, path: &Path) -> bool {
        let mut absent = self.absent.iter().filter(|absent| absent.path == path);
        self.protected.iter().any(|kept| kept == path) || absent.any(Absent::is_placeholder)
    }
}

/// What was made or changed since `start`, relative to the project.
pub(super) fn since(project: &Path, start: SystemTime, kept: &Kept) -> Vec<PathBuf> {
    let mut walk = Walk {
        start,
        kept,
        end: Instant::now() + TIME_MAX,
        entries: 0,
        found: Vec::new(),
    };
    walk.project(project);
    let mut found = walk.found;
    for path in &mut found {
        if let Ok(relative) = path.strip_prefix(project) {
            *path = relative.to_owned();
        }
    }
    found.sort();
    found
}

struct Walk<'a> {
    start: SystemTime,
    kept: &'a Kept,
    end: Instant,
    entries: usize,
    found: Vec<PathBuf>,
}

impl Walk<'_> {
    fn is_over(&self) -> bool {
        self.found.len() >= REPORTED_MAX || self.entries >= ENTRIES_MAX || Instant::now() > self.end
    }

    /// From the project's directory down, level by level.
    fn project(&mut self, project: &Path) {
        let mut queue = VecDeque::from([project.to_owned()]);
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
        if !git.is_dir() {
            self.look(git);
            return;
        }
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

    /// A file, or each file below a directory. A directory counts only when nothing is in it: its time changes when a
    /// file of it is replaced by the same file.
    fn all(&mut self, path: PathBuf) {
        let enough = self.found.len() + REPORTED_OF_ONE;
        let mut stack = vec![path];
        while let Some(path) = stack.pop() {
            if self.is_over() || self.found.len() >= enough {
                return;
            }
            self.entries += 1;
            if self.kept.covers(&path) {
                continue;
            }
            let is_directory = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
            let below = fs::read_dir(&path).into_iter().flatten().flatten();
            let below: Vec<PathBuf> = match is_directory {
                true => below.map(|entry| entry.path()).collect(),
                false => Vec::new(),
            };
            // Git runs no hook of such a name; `git init` makes a dozen.
            let is_sample = path.extension().is_some_and(|it| it == "sample");
            if below.is_empty() && !is_sample {
                self.look(&path);
            }
            stack.extend(below);
        }
    }

    fn look(&mut self, path: &Path) {
        if self.kept.covers(path) {
            return;
        }
        let Ok(found) = fs::symlink_metadata(path) else {
            return;
        };
        let seconds = u64::try_from(found.ctime()).unwrap_or(0);
        let nanoseconds = u32::try_from(found.ctime_nsec()).unwrap_or(0);
        let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        if changed >= self.start {
            self.found.push(path.to_owned());
        }
    }
}

/// The report, for the model and the user; `None` when nothing is to be reported.
pub(super) fn report(changed: &[PathBuf]) -> Option<String> {
    let names: Vec<String> = changed
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let text = format!(
        "warning: while this command ran, protected files were made or changed that the sandbox cannot protect: {}. \
         Other programs run or obey them later in the user's name. Report them to the user.",
        names.join(", ")
    );
    (!changed.is_empty()).then_some(text)
}
