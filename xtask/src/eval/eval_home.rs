//! The directories and the environment of one evaluation: a temporary directory with its own supervisor, home and git
//! identity. Dropping an [`EvalHome`] stops the supervisor. From `new` to the end of drop, no terminating signal ends
//! the program.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::attempt::{ModelSource, output_within};
use crate::run::dev_binaries;

pub(super) struct EvalHome {
    /// `None` after [`EvalHome::keep`].
    directory: Option<tempfile::TempDir>,
    root: PathBuf,
    program: PathBuf,
    /// The search path, with the interpreters of this machine first.
    path: OsString,
    /// Whether the commands of agents run in a sandbox. Otherwise the runner allows each of them.
    pub(super) is_sandboxed: bool,
    signals: Signals,
}

/// The state of terminating signals.
struct Signals {
    /// Set by a signal.
    interrupted: Arc<AtomicBool>,
    /// Whether signals end the process again: the later steps of `cargo xtask test` have nothing to clean up.
    is_over: Arc<AtomicBool>,
}

impl Signals {
    fn watch() -> Result<Self> {
        let signals = Self {
            interrupted: Arc::default(),
            is_over: Arc::default(),
        };
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            flag::register_conditional_default(signal, Arc::clone(&signals.is_over))
                .and_then(|_| flag::register(signal, Arc::clone(&signals.interrupted)))
                .context("cannot watch for signals")?;
        }
        Ok(signals)
    }
}

impl EvalHome {
    pub(super) fn new(model_source: &ModelSource, no_sandbox: bool) -> Result<Self> {
        let signals = Signals::watch()?;
        let directory = tempfile::Builder::new()
            .prefix("agent-team-eval-")
            .tempdir()
            .context("cannot create a directory")?;
        let root = fs::canonicalize(directory.path())?;
        let path = set_up(&root)?;
        fs::create_dir_all(root.join("at/config"))?;
        if matches!(model_source, ModelSource::Model(_)) {
            copy_settings(&root.join("at/config"))?;
        }
        let mut home = Self {
            directory: Some(directory),
            root,
            program: dev_binaries()?.join("agent-team"),
            path,
            is_sandboxed: true,
            signals,
        };
        home.is_sandboxed = home.finds_sandbox()?;
        if !home.is_sandboxed {
            let is_recorded = matches!(model_source, ModelSource::Recordings(_));
            if !is_recorded && !no_sandbox {
                bail!(
                    "this machine has no sandbox for the commands of agents; install bubblewrap, or run again with \
                     --no-sandbox in a container"
                );
            }
            println!("no sandbox: the commands of agents run with your rights");
        }
        Ok(home)
    }

    /// Set once a signal has asked the program to end.
    pub(super) fn interrupted(&self) -> &AtomicBool {
        &self.signals.interrupted
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The program in this directory, with the environment of the evaluation.
    pub(super) fn agent_team(&self, project: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(project);
        self.environment(&mut command);
        command
    }

    /// Sets the environment of a command.
    pub(super) fn environment(&self, command: &mut Command) {
        tools(command, &self.root.join("home"), &self.path);
        command.env("AGENT_TEAM_HOME", self.root.join("at"));
    }

    /// Keeps the directory, and returns its path.
    pub(super) fn keep(&self) -> &Path {
        let marker = self.root.join("keep");
        // `drop` reads the marker. The directory cannot be taken out of `self` here: `drop` must still stop the
        // supervisor in it.
        let _written = fs::write(marker, "");
        &self.root
    }

    fn finds_sandbox(&self) -> Result<bool> {
        // `doctor` exits with 1 if another check fails.
        let output = output_within(&mut self.agent_team(&self.root, &["doctor", "--json"]))?;
        let report: Value =
            serde_json::from_slice(&output.stdout).context("cannot read the report of doctor")?;
        let mut checks = report["checks"].as_array().into_iter().flatten();
        let sandbox = checks.find(|check| check["name"] == "sandbox");
        Ok(sandbox.is_some_and(|check| check["ok"] == true && check["hint"].is_null()))
    }
}

impl Drop for EvalHome {
    fn drop(&mut self) {
        let _stopped = output_within(&mut self.agent_team(&self.root, &["supervisor", "stop"]));
        let is_kept = self.root.join("keep").exists();
        match self.directory.take() {
            Some(directory) if is_kept => drop(directory.keep()),
            directory => drop(directory),
        }
        self.signals.is_over.store(true, Ordering::SeqCst);
    }
}

/// Creates a home with a git identity. Returns the search path, which begins with the directories of the interpreters:
/// launchers such as pyenv and rustup look for their files in the user's home, which this home replaces.
pub(super) fn set_up(root: &Path) -> Result<OsString> {
    fs::create_dir(root.join("home"))?;
    fs::write(
        root.join("home/.gitconfig"),
        "[user]\nname = Eval\nemail = eval@example.com\n[advice]\ndetachedHead = false\n",
    )?;
    let ask = |program: &str, args: &[&str]| {
        let answer = output_within(Command::new(program).args(args)).ok()?;
        let text = String::from_utf8(answer.stdout).ok()?;
        (answer.status.success()).then(|| PathBuf::from(text.trim_end()))
    };
    let python = ask("python3", &["-c", "import sys; print(sys.executable)"]);
    let python = python.and_then(|program| Some(program.parent()?.to_path_buf()));
    let rust = ask("rustc", &["--print", "sysroot"]).map(|sysroot| sysroot.join("bin"));
    let before = std::env::var_os("PATH").unwrap_or_default();
    let path = rust.into_iter().chain(python);
    std::env::join_paths(path.chain(std::env::split_paths(&before))).context("cannot build PATH")
}

/// Sets the environment of the tools that agents and checks use. The user's own agent-team variables, instruction files
/// and git settings have no effect.
pub(super) fn tools(command: &mut Command, home: &Path, path: &OsStr) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("AGENT_TEAM_") || text.starts_with("GIT_") || text.starts_with("CARGO_")
        {
            command.env_remove(&name);
        }
    }
    command
        .env("HOME", home)
        .env("PATH", path)
        .env("LC_ALL", "C.UTF-8")
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env_remove("XDG_CONFIG_HOME");
}

/// Copies the user's settings and list of models: they can define the name of a model.
fn copy_settings(to: &Path) -> Result<()> {
    let below = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let config = below("AGENT_TEAM_HOME")
        .map(|home| home.join("config"))
        .or_else(|| below("XDG_CONFIG_HOME").map(|home| home.join("agent-team")))
        .or_else(|| below("HOME").map(|home| home.join(".config/agent-team")));
    let Some(config) = config else {
        return Ok(());
    };
    for name in ["config.toml", "models.toml"] {
        let file = config.join(name);
        if file.is_file() {
            fs::copy(&file, to.join(name))
                .with_context(|| format!("cannot copy {}", file.display()))?;
        }
    }
    Ok(())
}
