//! `cargo xtask demo clis`: a team of the agents of other vendors that are installed and logged in. If no such agent is
//! found, the members are fakes, which speak the real protocol and have no model.

use std::ffi::OsString;
use std::fs;
use std::io::IsTerminal as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Demo, PREFIX, SHOWN, Team};
use crate::run::{cargo, check, dev_binaries, succeeds};

/// The agents that the fake can replace, with their programs.
const FAKED: [(&str, &str); 2] = [("claude-acp", "claude-agent-acp"), ("gemini", "gemini")];

const FAKE: &str = "fake_acp_agent";

/// The time limit of the team without a terminal.
const LIMIT: Duration = Duration::from_secs(300);

const INTERVAL: Duration = Duration::from_millis(200);

/// A team of agents, and the environment in which it runs.
struct Clis {
    demo: Demo,
    /// The words for `engine`.
    words: Vec<String>,
    is_fake: bool,
    path: OsString,
}

pub(super) fn run() -> Result<()> {
    check(&mut cargo(&["build", "--bin", FAKE]))?;
    let directory = tempfile::Builder::new().prefix(PREFIX).tempdir();
    let directory = directory.context("cannot create a directory")?;
    let demo = Demo::in_directory(directory, Team::Clis, None)?;
    let clis = Clis::prepare(demo)?;
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return clis.show();
    }
    let outcome = clis.run_to_completion();
    let stopped = check(clis.agent_team(&["down"]).stdout(Stdio::null()));
    outcome.and(stopped)
}

impl Clis {
    /// Finds the agents, prints their names, and writes the team file.
    fn prepare(demo: Demo) -> Result<Self> {
        let shown = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let found = installed(&demo, shown)?;
        let is_fake = found.is_empty();
        let mut path = std::env::var_os("PATH").unwrap_or_default();
        let words: Vec<String> = match is_fake {
            true => {
                let fakes = demo.directory().join("fakes");
                fs::create_dir(&fakes)?;
                for (_, program) in FAKED {
                    symlink(dev_binaries()?.join(FAKE), fakes.join(program))?;
                }
                let own = std::iter::once(fakes);
                path = std::env::join_paths(own.chain(std::env::split_paths(&path)))?;
                println!(
                    "── no agent of another vendor is installed and logged in: the members are FAKES of"
                );
                println!(
                    "   claude and gemini, without a model. They ask for one command, and complete their task"
                );
                FAKED.iter().map(|(word, _)| (*word).to_owned()).collect()
            }
            false => {
                println!(
                    "── the members are the agents that are installed here, with your accounts:"
                );
                for (word, version) in &found {
                    println!("   {word}: {version}");
                }
                found.into_iter().map(|(word, _)| word).collect()
            }
        };
        let text = team(&words, is_fake, demo.directory());
        fs::write(demo.project().join(".agent-team/team.toml"), text)?;
        let clis = Self {
            demo,
            words,
            is_fake,
            path,
        };
        if let Some(digest) = clis.demo.trust(Stdio::inherit())? {
            println!("── agent-team up --trust {digest}");
        }
        Ok(clis)
    }

    fn agent_team(&self, args: &[&str]) -> Command {
        let mut command = self.demo.agent_team(args);
        command.env("PATH", &self.path);
        command
    }

    /// Attaches to the team. It keeps running, until `demo down`.
    fn show(self) -> Result<()> {
        fs::write(self.demo.directory().join(SHOWN), "")?;
        if !self.is_fake {
            println!("── each member reads one file and completes a task: this uses your accounts");
        }
        println!(
            "── y in a pane allows what its agent asks for; Ctrl-b d detaches. Press Enter to start"
        );
        std::io::stdin().read_line(&mut String::new())?;
        let outcome = check(&mut self.agent_team(&["up"]));
        println!("── stop and remove it with: cargo xtask demo down");
        let _kept = self.demo.directory.keep();
        outcome
    }

    /// Runs the team until its tasks are over. Allows the requests of fakes, and denies the requests of real agents.
    fn run_to_completion(&self) -> Result<()> {
        println!("── agent-team up --detach");
        let mut up = self.agent_team(&["up", "--detach", "--panes", "headless"]);
        check(up.stdout(Stdio::null()))?;
        let began = Instant::now();
        loop {
            ensure!(
                began.elapsed() < LIMIT,
                "the tasks are not completed in time"
            );
            for request in self.list("requests")? {
                let id = request["id"].as_str().context("a request has an id")?;
                let verb = if self.is_fake { "allow" } else { "deny" };
                // A request can be withdrawn before this call.
                if succeeds(&mut self.agent_team(&["requests", verb, id])) {
                    println!("── agent-team requests {verb} {id}");
                }
            }
            let tasks = self.list("tasks")?;
            let is_over = |task: &Value| {
                ["completed", "failed", "cancelled"]
                    .iter()
                    .any(|state| task["state"] == *state)
            };
            if tasks.iter().all(is_over) {
                break;
            }
            thread::sleep(INTERVAL);
        }
        println!("── agent-team ps");
        check(&mut self.agent_team(&["ps"]))?;
        println!("── agent-team task list");
        check(&mut self.agent_team(&["task", "list"]))?;
        let tasks = self.list("tasks")?;
        ensure!(
            tasks.len() == self.words.len()
                && tasks.iter().all(|task| task["state"] == "completed"),
            "a task is not completed"
        );
        Ok(())
    }

    fn list(&self, what: &str) -> Result<Vec<Value>> {
        let verb: &[&str] = match what {
            "tasks" => &["task", "list", "--json"],
            _ => &["requests", "--json"],
        };
        let output = self.agent_team(verb).output()?;
        let document: Value = serde_json::from_slice(&output.stdout)?;
        let list = document[what].as_array().or(document.as_array());
        list.cloned()
            .with_context(|| format!("no {what} in {document}"))
    }
}

/// The agents that open a session: their words for `engine`, and their versions. `shown`: a user answers the dialogs
/// of agents in their own terminal interfaces.
fn installed(demo: &Demo, shown: bool) -> Result<Vec<(String, String)>> {
    // `doctor` exits with 1 if any check fails.
    let doctor = demo.agent_team(&["doctor", "--clis", "--json"]).output()?;
    let document: Value = serde_json::from_slice(&doctor.stdout)?;
    let clis = document["clis"]
        .as_array()
        .context("doctor lists no agents")?;
    let usable = clis
        .iter()
        .filter(|cli| cli["login"]["state"] == "logged_in");
    let named = usable.filter_map(|cli| {
        let own = Some(&cli["own_terminal"]).filter(|own| shown && own.is_object());
        let cli = own.unwrap_or(cli);
        let version = cli["version"].as_str().unwrap_or("version unknown");
        Some((cli["engine"].as_str()?.to_owned(), version.to_owned()))
    });
    Ok(named.collect())
}

fn team(words: &[String], is_fake: bool, directory: &Path) -> String {
    let mut text = "name = \"clis\"\nmode = \"manual\"\n".to_owned();
    for word in words {
        text.push_str(&format!(
            "\n[[member]]\nname = {word:?}\nengine = {word:?}\n"
        ));
        if is_fake {
            text.push_str(&format!("env = {{ FAKE_ACP_SESSIONS = {directory:?} }}\n"));
        }
    }
    for word in words {
        text.push_str(&format!(
            "\n[[task]]\ntitle = \"Describe the library, {word}\"\nfor = {word:?}\ndescription = \"Read src/lib.rs. Change \
             nothing. Complete this task with one sentence about what the library does.\"\n"
        ));
    }
    text
}
