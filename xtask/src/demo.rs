//! `cargo xtask demo`: runs a real team on a sample project, with its own state directory and sockets. `pictures` uses
//! the same team.

mod clis;
mod user;

pub(crate) mod step;

use std::fs;
use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::unistd::Uid;

use self::user::UserActions;
use crate::run::{cargo, check, dev_binaries, root, script, succeeds};
use crate::{programs, test};

/// The action of `cargo xtask demo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Action {
    Agents,
    Commands,
    Clis,
    Down,
}

/// The team of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Team {
    Agents,
    Commands,
    /// Agents of other vendors. `clis` writes the team file.
    Clis,
}

impl Team {
    fn name(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Commands | Self::Clis => "commands",
        }
    }
}

/// The prefix of the names of demo directories.
const PREFIX: &str = "agent-team-demo-";

/// The directory of the sample project in the directory of a demo.
const PROJECT: &str = "tally";

/// A marker file in the directory of a demo that is shown to a user. `demo down` stops and removes only demos with this
/// file.
const SHOWN: &str = "shown";

/// The speed at which the recording is played for a user, in characters per second.
const SPEED: &str = "100";

/// The speed without a terminal, or with `--fast`. At this speed, the model still pauses for a second before each
/// answer, and ben's worker is killed during the first pause. A kill during a call would lose the effect of the call,
/// and the recording does not repeat the call.
const FAST: &str = "1000";

/// How long ben works before its worker is killed in front of a user.
const BEFORE_KILL: Duration = Duration::from_secs(4);

const WATCH_PANES: &str = "\
── watch a lead and three agents. Their models play a recording; files, commands and permissions are real
   ben's worker is killed while it works: agent-team starts it again, and ben continues
   cleo asks you a question: type the answer in its pane
   dora asks before it edits README.md: y in its pane allows it; space shows the rest of a long request
   Ctrl-b and an arrow key goes to another pane; Ctrl-b d detaches";

/// The text without tmux: all members are in one process, which is not killed.
const WATCH_ONE_TERMINAL: &str = "\
── watch a lead and three agents. Their models play a recording; files, commands and permissions are real
   tmux is not installed, so the members share this terminal: Tab shows the next one
   cleo asks you a question: type the answer at its prompt
   dora asks before it edits README.md: y allows it; space shows the rest of a long request
   Ctrl-c twice leaves; the team keeps running";

/// On a terminal, attaches to the team, which the user stops later. Otherwise runs the team until its work is done, and
/// removes it.
pub(crate) fn run(action: Action, fast: bool) -> Result<()> {
    let team = match action {
        Action::Agents => Team::Agents,
        Action::Commands => Team::Commands,
        Action::Clis => Team::Clis,
        Action::Down => return down(),
    };
    test::install("tmux")?;
    build()?;
    if team == Team::Clis {
        return clis::run();
    }
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        let demo = Demo::new(team, if fast { FAST } else { SPEED })?;
        fs::write(demo.directory().join(SHOWN), "")?;
        let outcome = demo.show(fast);
        // The team is still running, so keep its directory.
        let _kept = demo.directory.keep();
        return outcome;
    }
    let demo = Demo::new(team, FAST)?;
    let outcome = demo.run_to_completion();
    if outcome.is_err() {
        println!(
            "── kept for inspection: {}",
            demo.directory.keep().display()
        );
    }
    outcome
}

/// Builds the four programs, without `--package`: cargo then enables the features of the whole workspace, and a build
/// of the tests does not compile the dependencies again.
pub(crate) fn build() -> Result<()> {
    let mut build = cargo(&["build"]);
    for program in programs::NAMES {
        build.args(["--bin", program]);
    }
    check(&mut build)
}

/// Stops the demos that were shown to a user, and removes them.
fn down() -> Result<()> {
    // Build the programs first: without them, no demo can be stopped, and a running demo must not be removed.
    build()?;
    let program = dev_binaries()?.join("agent-team");
    let shown = shown_demos(&std::env::temp_dir(), Uid::effective())?;
    ensure!(!shown.is_empty(), "no demo is running");
    remove_each(&shown, |directory| {
        let verb = |args: &[&str]| agent_team(&program, directory, args);
        // `ps` fails if the team is already down: there is nothing to stop then.
        if succeeds(&mut verb(&["ps"])) {
            check(&mut verb(&["down", "--force"]))?;
        }
        let _stopped = succeeds(&mut verb(&["supervisor", "stop"]));
        fs::remove_dir_all(directory)?;
        println!("removed {}", directory.display());
        Ok(())
    })
}

/// The directories of the demos that were shown to this user. Other users can create directories with such a name, and
/// this user must not run a team in them.
fn shown_demos(temporary: &Path, user: Uid) -> Result<Vec<PathBuf>> {
    let mut shown = Vec::new();
    for entry in fs::read_dir(temporary)? {
        let entry = entry?;
        let directory = entry.path();
        let is_demo = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // Read the metadata of the entry itself, not of the target of a symbolic link.
        let is_own = entry
            .metadata()
            .is_ok_and(|it| it.is_dir() && it.uid() == user.as_raw());
        if is_demo && is_own && directory.join(SHOWN).is_file() {
            shown.push(directory);
        }
    }
    Ok(shown)
}

/// Removes each demo. Reports all failures at the end, so that the other demos are removed even if one removal fails.
fn remove_each(demos: &[PathBuf], remove: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let failures = demos.iter().filter_map(|directory| {
        let error = remove(directory).err()?;
        Some(format!("cannot remove {}: {error:#}", directory.display()))
    });
    let failures: Vec<_> = failures.collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

fn how_to_watch(has_tmux: bool) -> &'static str {
    match has_tmux {
        true => WATCH_PANES,
        false => WATCH_ONE_TERMINAL,
    }
}

/// A program in the sample project of a demo's directory, with its own state directory and sockets.
fn agent_team(program: &Path, directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(directory.join(PROJECT))
        .env("AGENT_TEAM_HOME", directory.join("home"));
    // The variable names the target directory of this workspace; the sample project needs its own.
    command.env_remove("CARGO_TARGET_DIR");
    command
}

/// A sample project with a team, in a temporary directory.
pub(crate) struct Demo {
    team: Team,
    program: PathBuf,
    directory: tempfile::TempDir,
    /// The speed of the recording; `None`: its answers arrive without a delay.
    speed: Option<&'static str>,
}

impl Demo {
    /// Creates the project, and trusts the lines of its team file. The binaries must be built.
    fn new(team: Team, speed: &'static str) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir()
            .context("cannot create a directory")?;
        let demo = Self::in_directory(directory, team, Some(speed))?;
        println!(
            "── created a sample project in {}",
            demo.project().display()
        );
        if let Some(digest) = demo.trust(Stdio::inherit())? {
            println!("── agent-team up --trust {digest}");
        }
        Ok(demo)
    }

    /// Creates the project in this directory. The binaries must be built.
    pub(crate) fn in_directory(
        directory: tempfile::TempDir,
        team: Team,
        speed: Option<&'static str>,
    ) -> Result<Self> {
        let demo = Self {
            team,
            program: dev_binaries()?.join("agent-team"),
            directory,
            speed,
        };
        let mut create = script("sample-project.sh");
        check(create.arg(demo.project()).arg(team.name()))?;
        Ok(demo)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.directory().join(PROJECT)
    }

    /// The built program in the sample project, with its own state directory and sockets.
    pub(crate) fn agent_team(&self, args: &[&str]) -> Command {
        let mut command = agent_team(&self.program, self.directory(), args);
        if let Some(speed) = self.speed {
            command.env("AGENT_TEAM_REPLAY_SPEED", speed);
        }
        command
    }

    /// Trusts the lines of the team file that need trust, and writes them to `lines`. Returns their digest, if there
    /// are any.
    pub(crate) fn trust(&self, lines: Stdio) -> Result<Option<String>> {
        let refused = self.agent_team(&["up", "--dry-run", "--json"]).output()?;
        if refused.status.success() {
            return Ok(None);
        }
        let error: serde_json::Value = serde_json::from_slice(&refused.stderr)?;
        let hint = error["error"]["hint"].as_str().unwrap_or_default();
        let digest = hint.rsplit(' ').next().unwrap_or_default();
        let mut trusting = self.agent_team(&["up", "--dry-run", "--trust", digest]);
        check(trusting.stdout(Stdio::null()).stderr(lines))?;
        Ok(Some(digest.to_owned()))
    }

    fn show(&self, fast: bool) -> Result<()> {
        match self.team {
            Team::Agents => {
                println!("{}", how_to_watch(test::is_installed("tmux")));
                if !fast {
                    println!("── press Enter to start");
                    std::io::stdin().read_line(&mut String::new())?;
                }
                let goal = goal()?;
                let acts = UserActions {
                    kills_after: if fast { Duration::ZERO } else { BEFORE_KILL },
                    answers: false,
                };
                let mut up = self.agent_team(&["up", &goal]);
                let killed = self.acting(acts, || check(&mut up))?;
                if let Some(killed) = killed {
                    println!("── {killed}");
                }
            }
            Team::Commands | Team::Clis => check(&mut self.agent_team(&["up"]))?,
        }
        println!("── the team is still up. Try next:");
        println!("   cd {}", self.project().display());
        println!(
            "   export AGENT_TEAM_HOME={}",
            self.directory().join("home").display()
        );
        println!("   alias agent-team={}", self.program.display());
        println!("   git diff                # what the team changed");
        println!("   agent-team attach       # its panes again");
        println!(
            "   agent-team top          # the whole team on one screen, with keys for actions"
        );
        println!("   agent-team task list; agent-team audit; agent-team logs ben");
        println!("── stop and remove it with: cargo xtask demo down");
        println!(
            "── your own project: cargo xtask install; cd PROJECT; agent-team up \"YOUR GOAL\""
        );
        Ok(())
    }

    fn run_to_completion(&self) -> Result<()> {
        match self.team {
            Team::Agents => self.run_agents(),
            Team::Commands | Team::Clis => self.run_commands(),
        }
    }

    fn run_agents(&self) -> Result<()> {
        let goal = goal()?;
        let mut up = self.agent_team(&["up", "--detach", "--panes", "headless"]);
        check(up.stdout(Stdio::null()))?;
        println!("── agent-team run {goal:?}");
        let acts = UserActions {
            kills_after: Duration::ZERO,
            answers: true,
        };
        let mut run = self.agent_team(&["run", &goal]);
        let result = self.acting(acts, || check(&mut run));
        let stopped = check(self.agent_team(&["down"]).stdout(Stdio::null()));
        let killed = result?;
        stopped?;
        println!("── {}", killed.context("ben's worker was not killed")?);
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
        let report = fs::read_to_string(self.project().join("report.md"))
            .context("the team wrote no report")?;
        println!("── report.md, written by the team\n{report}");
        Ok(())
    }
}

/// The goal of the team `agents`, whose lead uses a recorded model.
pub(crate) fn goal() -> Result<String> {
    let file = root().join("scripts/demo/goal.txt");
    let goal = fs::read_to_string(&file);
    let goal = goal.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(goal.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn down_leaves_the_directories_of_other_users() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |name: &str| temporary.path().join(name);
        for name in ["agent-team-demo-1", "agent-team-demo-2", "other"] {
            fs::create_dir(at(name)).unwrap();
        }
        for name in ["agent-team-demo-1", "other"] {
            fs::write(at(name).join(SHOWN), "").unwrap();
        }
        symlink(at("other"), at("agent-team-demo-3")).unwrap();
        let user = Uid::effective();
        let shown = shown_demos(temporary.path(), user).unwrap();
        assert_eq!(shown, [at("agent-team-demo-1")]);
        let other = Uid::from_raw(user.as_raw() + 1);
        assert_eq!(
            shown_demos(temporary.path(), other).unwrap(),
            Vec::<PathBuf>::new()
        );
    }

    #[test]
    fn a_failed_removal_does_not_stop_the_others() {
        let tried = RefCell::new(Vec::new());
        let demos = ["a", "b", "c"].map(PathBuf::from);
        let error = remove_each(&demos, |demo| {
            tried.borrow_mut().push(demo.to_owned());
            ensure!(demo != Path::new("a"), "permission denied");
            Ok(())
        });
        assert_eq!(tried.into_inner(), demos);
        assert_eq!(
            error.unwrap_err().to_string(),
            "cannot remove a: permission denied"
        );
    }

    #[test]
    fn without_tmux_no_pane_and_no_kill_are_announced() {
        let text = how_to_watch(false);
        assert!(!text.contains("pane") && !text.contains("Ctrl-b"), "{text}");
        assert!(!text.contains("killed"), "{text}");
        assert!(how_to_watch(true).contains("Ctrl-b d detaches"));
    }
}
