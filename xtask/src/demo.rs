//! `cargo xtask demo`: runs a real team on a sample project, with its own state directory and sockets.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::run::{cargo, check, dev_binaries, root, script};
use crate::test;

/// The team of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Team {
    Agents,
    Commands,
}

impl Team {
    fn name(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Commands => "commands",
        }
    }
}

/// On a terminal, attaches to the team, which the user stops later; otherwise runs the team to its end and removes it.
pub(crate) fn run(team: Team) -> Result<()> {
    test::install("tmux")?;
    check(&mut cargo(&["build", "--workspace", "--bins"]))?;
    let demo = Demo::new(team)?;
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        demo.show()?;
        // The team is still running, so keep its directory.
        let _kept = demo.directory.keep();
        return Ok(());
    }
    let outcome = demo.run_to_its_end();
    if outcome.is_err() {
        println!(
            "── kept for inspection: {}",
            demo.directory.keep().display()
        );
    }
    outcome
}

/// A sample project with a team, in a temporary directory.
pub(crate) struct Demo {
    team: Team,
    program: std::path::PathBuf,
    directory: tempfile::TempDir,
}

impl Demo {
    /// Creates the project, and trusts the lines of its team file. The binaries must be built.
    pub(crate) fn new(team: Team) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("agent-team-demo-")
            .tempdir()
            .context("cannot create a directory")?;
        let demo = Self {
            team,
            program: dev_binaries()?.join("agent-team"),
            directory,
        };
        check(
            script("sample-project.sh")
                .arg(demo.project())
                .arg(team.name()),
        )?;
        println!(
            "── created a sample project in {}",
            demo.project().display()
        );
        demo.trust()?;
        Ok(demo)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn project(&self) -> std::path::PathBuf {
        self.directory().join("project")
    }

    /// The built program in the sample project, with its own state directory and sockets.
    pub(crate) fn agent_team(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .current_dir(self.project())
            .env("AGENT_TEAM_HOME", self.directory().join("home"));
        // The variable names the target directory of this workspace; the sample project has its own.
        command.env_remove("CARGO_TARGET_DIR");
        command
    }

    /// Trusts the lines of the team file, as a user does after reading them.
    fn trust(&self) -> Result<()> {
        let refused = self.agent_team(&["up", "--dry-run", "--json"]).output()?;
        if refused.status.success() {
            return Ok(());
        }
        let error: serde_json::Value = serde_json::from_slice(&refused.stderr)?;
        let hint = error["error"]["hint"].as_str().unwrap_or_default();
        let digest = hint.rsplit(' ').next().unwrap_or_default();
        println!("── agent-team up --trust {digest}");
        let mut trusting = self.agent_team(&["up", "--dry-run", "--trust", digest]);
        check(trusting.stdout(std::process::Stdio::null()))
    }

    fn show(&self) -> Result<()> {
        println!(
            "── {}",
            match std::env::var_os("TMUX") {
                Some(_) => "the team opens in a new window of your tmux",
                None => "attaching to the team; Ctrl-b d detaches and leaves it running",
            }
        );
        match self.team {
            Team::Agents => check(&mut self.agent_team(&["up", "--bypass", &goal()?]))?,
            Team::Commands => check(&mut self.agent_team(&["up"]))?,
        }
        println!("── the team is still up. To inspect and stop it:");
        println!("   cd {}", self.project().display());
        println!(
            "   export AGENT_TEAM_HOME={}",
            self.directory().join("home").display()
        );
        println!("   alias agent-team={}", self.program.display());
        println!("   git diff; agent-team ps; agent-team task list; agent-team attach");
        println!("   agent-team down && rm -r {}", self.directory().display());
        Ok(())
    }

    fn run_to_its_end(&self) -> Result<()> {
        match self.team {
            Team::Agents => self.run_agents(),
            Team::Commands => self.run_commands(),
        }
    }

    fn run_agents(&self) -> Result<()> {
        let goal = goal()?;
        println!("── agent-team run --bypass {goal:?}");
        check(&mut self.agent_team(&["run", "--bypass", &goal]))?;
        println!("── git diff of the team's changes");
        let mut diff = Command::new("git");
        diff.args(["--no-pager", "diff", "--stat"]);
        check(diff.current_dir(self.project()))
    }

    fn run_commands(&self) -> Result<()> {
        println!("── agent-team up --wait --detach");
        let result = check(&mut self.agent_team(&["up", "--wait", "--detach"]));
        println!("── agent-team down");
        let receipts = check(&mut self.agent_team(&["down"]));
        result.and(receipts)?;
        let report = std::fs::read_to_string(self.project().join("report.md"))
            .context("the team wrote no report")?;
        println!("── report.md, written by the team\n{report}");
        Ok(())
    }
}

/// The goal of the team `agents`, whose lead uses a recorded model.
pub(crate) fn goal() -> Result<String> {
    let file = root().join("scripts/demo/goal.txt");
    let goal = std::fs::read_to_string(&file);
    let goal = goal.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(goal.trim_end().to_owned())
}
