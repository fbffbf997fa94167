//! A demo team, and the terminals that show it: panes of a private tmux server. Used by [`super::scenes`].

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::screen::{SHOWN_PROJECT, Screen};
use super::svg::Theme;
use crate::demo::{Demo, Team};
use crate::run::{check, output, succeeds, wait};

/// How long a team may need to reach the state that a picture shows.
const LIMIT: Duration = Duration::from_secs(120);

/// The terminal type of the terminals. It has 256 colours and italics.
const TERM: &str = "tmux-256color";

/// The variables that the programs in the terminals keep. All others could change what the programs print.
const KEPT: [&str; 6] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
];

/// Columns and rows of a terminal.
pub(super) type Size = (usize, usize);

pub(super) struct Stage {
    demo: Demo,
    socket: PathBuf,
}

/// A terminal of a stage.
pub(super) struct Terminal<'a> {
    stage: &'a Stage,
    name: String,
    pub(super) size: Size,
    pub(super) theme: Theme,
}

impl Stage {
    /// Creates the sample project with this team file.
    pub(super) fn new(team: Team, team_file: &str) -> Result<Self> {
        // The project's path must be as long as the shown path, so it cannot depend on `TMPDIR`.
        let directory = tempfile::Builder::new()
            .prefix("demo-")
            .rand_bytes(4)
            .tempdir_in("/tmp")
            .context("cannot create a directory in /tmp")?;
        let demo = Demo::in_directory(directory, team, None)?;
        let project = demo.project();
        let shown = SHOWN_PROJECT.len();
        ensure!(
            project.as_os_str().len() == shown,
            "the path {} does not have {shown} bytes",
            project.display()
        );
        let file = project.join(".agent-team/team.toml");
        fs::write(&file, team_file).with_context(|| format!("cannot write {}", file.display()))?;
        // The lead shows the uncommitted changes of the project. Commit the team file, so that only the members'
        // changes remain.
        let mut commit = Command::new("git");
        for setting in [
            "user.name=sample",
            "user.email=sample@example.invalid",
            "commit.gpgsign=false",
        ] {
            commit.args(["-c", setting]);
        }
        commit.args(["commit", "--quiet", "--all", "--message", "Another team"]);
        check(commit.current_dir(project))?;
        demo.trust(Stdio::null())?;
        let socket = demo.directory().join("tmux.sock");
        Ok(Self { demo, socket })
    }

    fn tmux(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.tmux_command(arguments))
    }

    fn tmux_command(&self, arguments: &[&str]) -> Command {
        let mut tmux = Command::new("tmux");
        // With `-u` the server writes UTF-8 in every locale.
        tmux.args(["-u", "-f", "/dev/null", "-S"])
            .arg(&self.socket)
            .args(arguments)
            .env_remove("TMUX");
        tmux
    }

    /// Runs a verb and discards its output.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<()> {
        check(self.demo.agent_team(arguments).stdout(Stdio::null()))
    }

    /// Creates an empty file beside the project.
    pub(super) fn create_file(&self, name: &str) -> Result<()> {
        let file = self.demo.directory().join(name);
        fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))
    }

    /// Starts a verb in a new terminal.
    pub(super) fn open(
        &self,
        size: Size,
        theme: Theme,
        arguments: &[&str],
    ) -> Result<Terminal<'_>> {
        let (columns, rows) = size;
        let name = format!("{}-{columns}-{}", arguments[0], theme.name());
        let verb = self.demo.agent_team(arguments);
        let mut words = vec!["env".to_owned(), "-i".to_owned()];
        let kept = KEPT
            .iter()
            .filter_map(|name| Some((*name, std::env::var(name).ok()?)));
        // With the user's `CARGO_HOME`, cargo could print that it waits for the lock of another cargo.
        let cargo_home = self.demo.directory().join("cargo");
        let own = [
            ("CARGO_HOME", &*cargo_home.to_string_lossy()),
            ("TERM", TERM),
            ("LC_ALL", "C.UTF-8"),
            ("SHELL", "/bin/sh"),
            ("AGENT_TEAM_THEME", theme.name()),
        ];
        let own = own.map(|(name, value)| (name, value.to_owned()));
        words.extend(
            kept.chain(own)
                .map(|(name, value)| format!("{name}={value}")),
        );
        for (name, value) in verb.get_envs() {
            if let Some(value) = value {
                words.push(format!(
                    "{}={}",
                    name.to_string_lossy(),
                    value.to_string_lossy()
                ));
            }
        }
        words.push(verb.get_program().to_string_lossy().into_owned());
        words.extend(arguments.iter().map(|&word| word.to_owned()));
        let project = self.demo.project();
        let project = project.to_string_lossy();
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let mut start = vec!["set", "-g", "status", "off", ";"];
        start.extend(["set", "-g", "default-terminal", TERM, ";"]);
        start.extend([
            "new-session",
            "-d",
            "-s",
            &name,
            "-x",
            &columns,
            "-y",
            &rows,
        ]);
        start.extend(["-c", &project, "--"]);
        start.extend(words.iter().map(String::as_str));
        self.tmux(&start)?;
        Ok(Terminal {
            stage: self,
            name,
            size,
            theme,
        })
    }

    /// Waits until `is_reached` returns true. Its argument returns the member with a name.
    pub(super) fn wait_for_members(
        &self,
        what: &str,
        is_reached: impl Fn(&dyn Fn(&str) -> Value) -> bool,
    ) -> Result<()> {
        let reached = wait(LIMIT, || {
            let members = self.demo.members();
            let member = |name: &str| {
                let mut members = members.iter();
                members
                    .find(|it| it["name"] == name)
                    .cloned()
                    .unwrap_or_default()
            };
            Ok(is_reached(&member))
        });
        if reached? {
            return Ok(());
        }
        let members: Vec<_> = self.demo.members().iter().map(Value::to_string).collect();
        bail!("timed out waiting for {what}:\n{}", members.join("\n"))
    }
}

impl Terminal<'_> {
    /// Presses keys, named as tmux names them.
    pub(super) fn press(&self, keys: &[&str]) -> Result<()> {
        let send = [["send-keys", "-t", &self.name].as_slice(), keys].concat();
        self.stage.tmux(&send).map(drop)
    }

    /// The content of the terminal at this moment, with a fixed path, fixed ids and fixed times.
    pub(super) fn screen(&self) -> Result<Screen> {
        let capture = ["capture-pane", "-e", "-p", "-N", "-t", &self.name];
        let mut screen = Screen::parse(&self.stage.tmux(&capture)?, self.size.0);
        screen.normalise(&self.stage.demo.project().to_string_lossy());
        Ok(screen)
    }

    /// Waits until the terminal shows this text.
    pub(super) fn wait_for(&self, text: &str) -> Result<()> {
        if wait(LIMIT, || Ok(self.screen()?.text().contains(text)))? {
            return Ok(());
        }
        bail!("timed out waiting for {text:?}:\n{}", self.screen()?.text())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _stopped = succeeds(&mut self.demo.agent_team(&["down", "--force"]));
        // The server may have exited already: it exits with its last terminal.
        let _gone = succeeds(&mut self.tmux_command(&["kill-server"]));
    }
}
