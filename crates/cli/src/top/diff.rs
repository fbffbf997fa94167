//! The uncommitted changes of the project, read with git. Called by the event loop.
//!
//! Git does not record which member made a change, so these are the changes of all members and of the user.
//!
//! A repository can name programs that git runs: filters, monitors, diff drivers. Members can write to the repository,
//! and here git runs as the user, outside a sandbox. So the settings that name programs are overridden, and git (since
//! 2.41) reads no `.gitattributes` files of the project.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use agent_team_protocol::exit::ExitCode;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::error::Failure;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Maximum number of bytes of the diff, and of the list of untracked files.
const DIFF_MAX: u64 = 256 << 10;
const LIST_MAX: u64 = 16 << 10;

const SETTINGS: [(&str, &str); 6] = [
    ("core.attributesFile", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("diff.external", ""),
    ("protocol.allow", "never"),
    ("submodule.recurse", "false"),
];

const ENVIRONMENT: [(&str, &str); 5] = [
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("LC_ALL", "C"),
];

/// The variable that names the tree from which git reads attributes, and the id of the empty tree in each object
/// format.
const ATTRIBUTES: &str = "GIT_ATTR_SOURCE";
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
const EMPTY_TREE_SHA256: &str = "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321";

/// The changes, raw: file names and contents are untrusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changes {
    /// The output of `git diff --stat`.
    pub(super) stat: String,
    /// One file on each line.
    pub(super) untracked: String,
    pub(super) diff: String,
    /// The diff is longer than the part that was read.
    pub(super) is_cut: bool,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.diff.is_empty() && self.untracked.is_empty()
    }
}

/// Reads the changes since the last commit.
pub(super) async fn read(project: &Path) -> Result<Changes, Failure> {
    let read = async {
        let mut git = Git {
            project,
            settings: SETTINGS
                .map(|(key, value)| (key.into(), value.into()))
                .into(),
            attributes: None,
        };
        let (format, _) = git
            .run(&["rev-parse", "--show-object-format"], LIST_MAX)
            .await?;
        git.attributes = match format.trim() {
            "sha1" => Some(EMPTY_TREE),
            "sha256" => Some(EMPTY_TREE_SHA256),
            // Git before 2.29 prints the option instead of a format.
            _ => None,
        };
        git.disable_filters().await?;
        // A repository without commits is compared with the empty tree.
        let head = git
            .run(
                &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"],
                LIST_MAX,
            )
            .await;
        let from = match &head {
            Ok(_) => "HEAD",
            Err(_) => git.attributes.unwrap_or(EMPTY_TREE),
        };
        let diff = [
            "diff",
            "--no-ext-diff",
            "--no-textconv",
            "--no-color",
            "--ignore-submodules=all",
        ];
        let (stat, _) = git
            .run(
                &[&diff[..], &["--stat=72", from, "--", "."]].concat(),
                LIST_MAX,
            )
            .await?;
        let (text, is_cut) = git
            .run(&[&diff[..], &[from, "--", "."]].concat(), DIFF_MAX)
            .await?;
        let untracked = [
            "ls-files",
            "--others",
            "--exclude-standard",
            "--directory",
            "--",
            ".",
        ];
        let (untracked, _) = git.run(&untracked, LIST_MAX).await?;
        Ok(Changes {
            stat,
            untracked,
            diff: text,
            is_cut,
        })
    };
    match tokio::time::timeout(TIMEOUT, read).await {
        Ok(read) => read,
        Err(_elapsed) => Err(failed("git did not answer in 20 s")),
    }
}

fn failed(why: &str) -> Failure {
    Failure::new(
        "git_failed",
        ExitCode::Failed,
        format!("cannot read the changes: {why}"),
    )
}

struct Git<'a> {
    project: &'a Path,
    /// Settings that override the settings of the repository and of the user.
    settings: Vec<(OsString, OsString)>,
    attributes: Option<&'static str>,
}

impl Git<'_> {
    /// Makes all configured filters run no program. `.git/info/attributes` can select filters with every version of
    /// git.
    async fn disable_filters(&mut self) -> Result<(), Failure> {
        let list = [
            "config",
            "--null",
            "--name-only",
            "--get-regexp",
            "^filter\\.",
        ];
        // Without a match, git exits with 1.
        let names = match self.run(&list, LIST_MAX).await {
            Ok((_, true)) => return Err(failed("git has too many filters")),
            Ok((names, false)) => names,
            Err(_) => String::new(),
        };
        for name in names.split('\0') {
            let value = match name.rsplit('.').next() {
                Some("clean" | "smudge" | "process") => "",
                Some("required") => "false",
                Some(_) | None => continue,
            };
            self.settings.push((name.into(), value.into()));
        }
        Ok(())
    }

    /// Runs git; returns at most `max` bytes of its output, and whether there is more.
    async fn run(&self, arguments: &[&str], max: u64) -> Result<(String, bool), Failure> {
        let mut command = Command::new("git");
        command
            .args(["--no-pager", "-C"])
            .arg(self.project)
            .args(arguments)
            .envs(ENVIRONMENT)
            // Settings are passed in the environment: with `-c`, a name cannot contain `=`.
            .env("GIT_CONFIG_COUNT", self.settings.len().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // If git runs this program, for example in a hook, these variables can name another repository.
        for variable in [
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_EXTERNAL_DIFF",
        ] {
            command.env_remove(variable);
        }
        for (number, (key, value)) in self.settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), key);
            command.env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        if let Some(tree) = self.attributes {
            command.env(ATTRIBUTES, tree);
        }
        let io =
            |error: std::io::Error| Failure::io("cannot read the changes: cannot run git", &error);
        let mut child = command.spawn().map_err(io)?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(failed("git has no output"));
        };
        // Read both pipes at once: git blocks while one of them is full.
        let errors = tokio::spawn(async move {
            let mut errors = Vec::new();
            let _incomplete = stderr.take(LIST_MAX).read_to_end(&mut errors).await;
            errors
        });
        let mut text = Vec::new();
        let read = stdout.take(max + 1).read_to_end(&mut text).await;
        read.map_err(io)?;
        let is_cut = text.len() as u64 > max;
        if is_cut {
            // Git blocks, because nothing reads the rest of its output. Dropping the child kills git.
            text.truncate(usize::try_from(max).unwrap_or(usize::MAX));
        } else if !child.wait().await.map_err(io)?.success() {
            let errors = errors.await.unwrap_or_default();
            let errors = String::from_utf8_lossy(&errors);
            let first = errors.lines().next().unwrap_or("git failed");
            return Err(failed(&agent_team_protocol::text::visible_line(first)));
        }
        Ok((String::from_utf8_lossy(&text).into_owned(), is_cut))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn git(project: &Path, arguments: &[&str]) {
        let mut git = std::process::Command::new("git");
        git.arg("-C").arg(project).args(arguments);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        for (key, value) in [("AUTHOR", "ada"), ("COMMITTER", "ada")] {
            git.env(format!("GIT_{key}_NAME"), value);
            git.env(format!("GIT_{key}_EMAIL"), "ada@example.org");
        }
        let done = git.output().unwrap();
        assert!(done.status.success(), "{arguments:?} {done:?}");
    }

    fn repository() -> tempfile::TempDir {
        let project = tempfile::tempdir().unwrap();
        git(project.path(), &["init", "--quiet"]);
        fs::write(project.path().join("a.txt"), "one\n").unwrap();
        git(project.path(), &["add", "a.txt"]);
        project
    }

    #[tokio::test]
    async fn all_uncommitted_changes_are_read() {
        let project = repository();
        let added = read(project.path()).await.unwrap();
        assert!(added.diff.contains("+one"), "{added:?}");
        git(project.path(), &["commit", "--quiet", "-m", "first"]);
        assert!(read(project.path()).await.unwrap().is_empty());
        fs::write(project.path().join("a.txt"), "two\n").unwrap();
        fs::write(project.path().join("new.txt"), "x\n").unwrap();
        let changes = read(project.path()).await.unwrap();
        assert!(changes.diff.contains("-one\n+two"), "{changes:?}");
        assert!(changes.stat.contains("1 file changed"), "{changes:?}");
        assert_eq!(changes.untracked, "new.txt\n");
        fs::write(project.path().join("a.txt"), "long line\n".repeat(100_000)).unwrap();
        let changes = read(project.path()).await.unwrap();
        assert!(changes.is_cut && changes.diff.len() == 256 << 10);
    }

    #[tokio::test]
    async fn a_directory_without_a_repository_is_an_error() {
        let project = tempfile::tempdir().unwrap();
        let failure = read(project.path()).await.unwrap_err();
        let text = failure.one_line();
        assert!(
            text.starts_with("cannot read the changes: fatal: not a git repository"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_hostile_repository_runs_no_program() {
        let project = repository();
        git(project.path(), &["commit", "--quiet", "-m", "first"]);
        let ran = project.path().join("ran");
        let touch = format!("touch '{}'; cat", ran.display());
        for key in [
            "filter.evil.clean",
            "filter.evil.process",
            "filter.with=sign.clean",
            "diff.evil.command",
            "diff.evil.textconv",
            "diff.external",
            "core.fsmonitor",
            "core.pager",
            "pager.diff",
        ] {
            git(project.path(), &["config", key, &touch]);
        }
        git(project.path(), &["config", "filter.evil.required", "true"]);
        let attributes = "a.txt filter=evil diff=evil\n*.new filter=with=sign\n";
        fs::write(project.path().join(".gitattributes"), attributes).unwrap();
        fs::write(project.path().join(".git/info/attributes"), attributes).unwrap();
        fs::write(project.path().join("a.txt"), "two\n").unwrap();
        let changes = read(project.path()).await.unwrap();
        assert!(changes.diff.contains("+two"), "{changes:?}");
        assert!(!ran.exists(), "a program of the repository ran");
        // The same repository runs the program for a git without these settings.
        let plain = std::process::Command::new("git")
            .arg("-C")
            .arg(project.path())
            .args(["diff"])
            .output();
        assert!(plain.is_ok() && ran.exists(), "the test has no effect");
    }
}
