//! The files `eval/NAME.toml`: a small repository, the prompt of a user, the check that decides whether the task is
//! solved, and recorded answers. Reads them; eval/README.md describes the keys.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::run::{output, root};

/// The name of the worker that does a task.
pub(super) const WORKER: &str = "ada";

/// The name of the lead of a [`Team::Lead`].
pub(super) const LEAD: &str = "lead";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EvalTask {
    /// The name of the file.
    #[serde(skip)]
    pub(super) name: String,
    /// The ability that the task measures, in a few words.
    pub(super) kind: String,
    /// The text of the user. The first line is the title of the task on the board.
    pub(super) prompt: String,
    #[serde(default)]
    pub(super) team: Team,
    /// Permission rules that deny calls.
    #[serde(default)]
    pub(super) deny: Vec<String>,
    /// The user's reply to a question.
    pub(super) reply: Option<String>,
    /// Maximum number of model requests.
    #[serde(default = "default_steps")]
    pub(super) max_steps: u32,
    /// The window in tokens that the recorded model reports.
    #[serde(default = "default_window")]
    pub(super) window: u64,
    /// The files of the repository.
    #[serde(default)]
    pub(super) files: BTreeMap<String, String>,
    /// A shell script that runs in the repository after its first commit.
    #[serde(default)]
    pub(super) setup: String,
    /// A shell script that runs in the repository after the agent has ended. Exit code 0: the task is solved. It
    /// is not in the project while the agent works.
    pub(super) check: String,
    #[serde(rename = "answer")]
    pub(super) answers: Vec<RecordedAnswer>,
}

/// The members that do a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Team {
    /// One worker, which has the prompt as its task.
    #[default]
    Worker,
    /// A lead, which has the prompt as its goal, and a worker.
    Lead,
}

/// One answer of a recording.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordedAnswer {
    #[serde(default = "default_member")]
    pub(super) member: String,
    /// A text that the request must contain after the previous answer. It proves that the harness sent the results of
    /// this answer.
    pub(super) expect: Option<String>,
    /// The answer is given again until a later request contains this text after the previous answer.
    pub(super) until: Option<String>,
    #[serde(default)]
    pub(super) text: String,
    /// The calls of the answer. Each is a table with one key, the tool, whose value contains the arguments. A string is
    /// sent unchanged.
    #[serde(default)]
    pub(super) calls: Vec<BTreeMap<String, Value>>,
    /// The finish reason, if the answer is not complete: `length` or `content_filter`.
    pub(super) stop: Option<String>,
    pub(super) fault: Option<Fault>,
}

/// A failure of the server in place of a complete answer. The client repeats the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fault {
    /// The server refuses the request with status 529.
    Overloaded,
    /// The server closes the connection in the middle of the answer.
    Cut,
}

fn default_steps() -> u32 {
    40
}

fn default_window() -> u64 {
    128_000
}

fn default_member() -> String {
    WORKER.to_owned()
}

impl EvalTask {
    /// The title and the description of the task on the board.
    pub(super) fn title_and_description(&self) -> (&str, &str) {
        let prompt = self.prompt.trim();
        let (title, description) = prompt.split_once('\n').unwrap_or((prompt, ""));
        (title.trim(), description.trim())
    }
}

/// The directory of the files of the tasks. These files contain the checks.
pub(super) fn directory() -> PathBuf {
    root().join("eval")
}

/// The directories that agents may not read: the files, and the history of this repository, which contains the files
/// too.
pub(super) fn secret_directories() -> Vec<PathBuf> {
    let mut git = Command::new("git");
    git.args(["rev-parse", "--path-format=absolute", "--git-common-dir"]);
    let history = output(git.current_dir(root())).ok();
    let history = history.map(|path| PathBuf::from(path.trim_end()));
    history.into_iter().chain([directory()]).collect()
}

/// Reads the named tasks, or all tasks without names, in the order of their names.
pub(super) fn load(names: &[String]) -> Result<Vec<EvalTask>> {
    let directory = directory();
    let mut tasks = Vec::new();
    let entries = fs::read_dir(&directory);
    for entry in entries.with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let Some(name) = name.strip_suffix(".toml") else {
            continue;
        };
        let text = fs::read_to_string(&path)?;
        let task: EvalTask =
            toml::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?;
        tasks.push(EvalTask {
            name: name.to_owned(),
            ..task
        });
    }
    tasks.sort_by(|one, other| one.name.cmp(&other.name));
    for name in names {
        ensure!(
            tasks.iter().any(|task| task.name == *name),
            "unknown task {name}; list the tasks with: cargo xtask eval --list"
        );
    }
    tasks.retain(|task| names.is_empty() || names.contains(&task.name));
    Ok(tasks)
}
