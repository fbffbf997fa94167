//! `cargo xtask test mcp`: the official inspector and the official conformance suite of MCP against `agent-team mcp`
//! and `agent-team serve`. Both are installed below the target directory with npm, and run with a Node.js that is new
//! enough.
//!
//! Most scenarios of the suite need the tools, resources and prompts of its own sample server. [`SCENARIOS`] lists the
//! scenarios for every server.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::run::{check, dev_binaries, output, root};
use crate::{npm, test};

/// The packages, with the tested versions.
const PACKAGES: [&str; 3] = [
    "@modelcontextprotocol/inspector@2.12.0",
    "@modelcontextprotocol/conformance@0.1.16",
    "node@22.23.3",
];

const SCENARIOS: [&str; 8] = [
    "server-initialize",
    "ping",
    "completion-complete",
    "tools-list",
    "tools-call-error",
    "resources-list",
    "prompts-list",
    "server-sse-multiple-streams",
];

/// A team for `agent-team serve`, which serves no project without one.
const TEAM: &str =
    "[panes]\nplacement = \"headless\"\n[[member]]\nname = \"ada\"\nengine = \"command\"\n";

pub(crate) fn step() -> Result<()> {
    if !npm::is_installed() {
        println!("   skipped: npm is not installed");
        return Ok(());
    }
    test::build()?;
    let binaries = dev_binaries()?;
    let target = binaries
        .parent()
        .context("cannot find the target directory")?;
    let packages = target.join("mcp-suites");
    npm::install(&packages, &PACKAGES)?;
    let directory = tempfile::tempdir()?;
    let suites = Suites {
        program: binaries.join("agent-team"),
        packages,
        home: directory.path().join("home"),
        project: directory.path().join("project"),
    };
    let settings = suites.project.join(".agent-team");
    std::fs::create_dir_all(&settings)?;
    std::fs::write(settings.join("team.toml"), TEAM)?;
    let outcome = check(&mut suites.agent_team(&["up", "--detach"])).and_then(|()| suites.run());
    let stopped = check(&mut suites.agent_team(&["supervisor", "stop"]));
    outcome.and(stopped)
}

/// The installed suites, and a project whose agent-team has a home of its own.
struct Suites {
    program: PathBuf,
    packages: PathBuf,
    home: PathBuf,
    project: PathBuf,
}

/// A process that prints an address in its first line. Killed on drop.
struct Server {
    process: Child,
    line: String,
}

impl Server {
    fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let stdout = process.stdout.take().context("stdout is a pipe")?;
        let mut server = Self {
            process,
            line: String::new(),
        };
        BufReader::new(stdout).read_line(&mut server.line)?;
        ensure!(!server.line.is_empty(), "{command:?} does not start");
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}

impl Suites {
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.project);
        command.env("AGENT_TEAM_HOME", &self.home);
        command
    }

    fn agent_team(&self, args: &[&str]) -> Command {
        let mut command = self.command(&self.program);
        command.args(args);
        command
    }

    /// A command that runs this script with the installed Node.js.
    fn node(&self, script: &Path) -> Command {
        let node = self.packages.join("node_modules/node/bin/node");
        let mut command = self.command(&node);
        // The inspector writes a catalogue of servers into the home directory.
        command.env("HOME", &self.home).arg(script);
        command
    }

    fn installed(&self, name: &str) -> Command {
        self.node(&self.packages.join("node_modules/.bin").join(name))
    }

    fn run(&self) -> Result<()> {
        let program = self.program.to_str().context("the path is not UTF-8")?;
        // The inspector starts servers with only a few of its own variables.
        let home = format!("AGENT_TEAM_HOME={}", self.home.display());
        self.inspect("stdio", &["-e", &home, program, "mcp"])?;
        let service = Server::start(&mut self.agent_team(&["serve", "--json"]))?;
        let printed: Value = serde_json::from_str(&service.line)?;
        let url = printed["url"].as_str().context("no URL")?;
        let (address, token) = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once("/#"))
            .context("the URL has no token")?;
        let mut proxy = self.node(&root().join("scripts/add-token.cjs"));
        let proxy = Server::start(proxy.args([address, token]))?;
        let url = format!("http://{}/mcp", proxy.line.trim());
        self.inspect("HTTP", &[&url])?;
        self.conform(&url)
    }

    /// Lists and calls tools of this server with the inspector.
    fn inspect(&self, transport: &str, server: &[&str]) -> Result<()> {
        let inspect = |args: &[&str]| -> Result<Value> {
            let mut inspector = self.installed("mcp-inspector");
            inspector
                .arg("--cli")
                .args(server)
                .arg("--method")
                .args(args);
            let answer = output(&mut inspector)?;
            serde_json::from_str(&answer)
                .with_context(|| format!("cannot parse the output of the inspector: {answer}"))
        };
        let tools = inspect(&["tools/list"])?;
        let tools = tools["tools"].as_array().context("no tools")?;
        let has = |name: &str| tools.iter().any(|tool| tool["name"] == name);
        ensure!(has("create_team") && has("join_team"), "tools are missing");
        let teams = inspect(&["tools/call", "--tool-name", "list_teams"])?;
        let text = teams["content"][0]["text"].as_str().unwrap_or_default();
        ensure!(text.starts_with("project ("), "{teams}");
        for method in ["resources/list", "prompts/list"] {
            inspect(&[method])?;
        }
        println!(
            "   inspector, {transport}: {} tools; calls, resources and prompts pass",
            tools.len()
        );
        Ok(())
    }

    /// Runs the scenarios of the conformance suite, which only tests servers at a URL.
    fn conform(&self, url: &str) -> Result<()> {
        let mut failed = Vec::new();
        for scenario in SCENARIOS {
            let mut run = self.installed("conformance");
            run.args(["server", "--url", url, "--scenario", scenario]);
            let output = run.output()?;
            let is_good = output.status.success();
            let outcome = if is_good { "passes" } else { "fails" };
            println!("   conformance, {scenario}: {outcome}");
            if !is_good {
                let text = [output.stdout, output.stderr].concat();
                println!("{}", String::from_utf8_lossy(&text));
                failed.push(scenario);
            }
        }
        ensure!(failed.is_empty(), "scenarios failed: {}", failed.join(", "));
        Ok(())
    }
}
