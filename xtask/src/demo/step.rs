//! The step `demo` of `cargo xtask test`: runs the demo as a user does, in a pipe and on a terminal, and stops it with
//! `demo down`. The terminal is a pane of a private tmux server. Starts this program as a child process, and calls no
//! function of the demo.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::run::{dev_binaries, output, succeeds, wait};
use crate::test;

/// Maximum time for each part of the step.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn run() -> Result<()> {
    test::build()?;
    let environment = DemoEnvironment::new()?;
    let printed = environment.xtask(&["demo", "--fast"])?;
    for line in [
        "cleo asks the user",
        "dora asks before it calls edit",
        "ben's worker, was killed",
        "All tests pass.",
        "src/lib.rs",
    ] {
        ensure!(printed.contains(line), "no {line:?} in:\n{printed}");
    }
    let printed = environment.xtask(&["demo", "commands"])?;
    ensure!(printed.contains("# Report"), "no report in:\n{printed}");
    if test::is_installed("tmux") {
        environment.on_terminal()?;
    } else {
        println!("   the demo on a terminal is skipped: tmux is not installed");
    }
    let left: Vec<PathBuf> = fs::read_dir(&environment.temporary)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    ensure!(left.is_empty(), "the demo has left {left:?}");
    let processes = output(Command::new("ps").args(["-A", "-o", "command="]))?;
    // Search for the directories of demos, not for the temporary directory: the command line of the tmux server
    // contains the path of the temporary directory.
    let path = format!("{}/agent-team-demo-", environment.temporary.display());
    let left = processes.lines().find(|line| line.contains(&path));
    ensure!(left.is_none(), "a process of the demo is left: {left:?}");
    Ok(())
}

/// A directory for temporary files of the demos, and a tmux server.
struct DemoEnvironment {
    directory: tempfile::TempDir,
    temporary: PathBuf,
}

impl DemoEnvironment {
    fn new() -> Result<Self> {
        // Do not use `TMPDIR`: the paths of sockets must be short.
        let directory = tempfile::Builder::new().prefix("ds-").tempdir_in("/tmp")?;
        let temporary = directory.path().join("t");
        fs::create_dir(&temporary)?;
        Ok(Self {
            directory,
            temporary,
        })
    }

    /// Runs this program without a terminal; returns what it prints.
    fn xtask(&self, arguments: &[&str]) -> Result<String> {
        let file = self.directory.path().join("printed");
        let printed = File::create(&file)?;
        let mut xtask = Command::new(this_program()?);
        xtask.args(arguments).env("TMPDIR", &self.temporary);
        xtask.stdin(Stdio::null()).stderr(printed.try_clone()?);
        let mut running = xtask.stdout(printed).spawn()?;
        let mut status = None;
        let ended = wait(LIMIT, || {
            status = running.try_wait()?;
            Ok(status.is_some())
        });
        let printed = fs::read_to_string(&file)?;
        if !ended? {
            running.kill()?;
            bail!("{arguments:?} did not end:\n{printed}");
        }
        ensure!(
            status.is_some_and(|status| status.success()),
            "{arguments:?} failed:\n{printed}"
        );
        Ok(printed)
    }

    /// Runs the demo in a tmux pane, detaches while dora's request waits for the user, and stops the demo.
    fn on_terminal(&self) -> Result<()> {
        let program = this_program()?;
        let program = program.to_str().context("the path is not UTF-8")?;
        let temporary = format!("TMPDIR={}", self.temporary.display());
        let words = ["env", "-u", "TMUX", &temporary, program, "demo", "--fast"];
        let start = ["set", "-g", "remain-on-exit", "on", ";"];
        let start = [&start[..], &["new-session", "-d", "-x", "120", "-y", "40"]].concat();
        self.tmux(&[&start[..], &["--"], &words].concat())?;
        // The request of dora waits for the user.
        self.wait_for("[n] no")?;
        self.tmux(&["send-keys", "C-b", "d"])?;
        self.wait_for("stop and remove it with: cargo xtask demo down")?;
        let screen = self.screen()?;
        ensure!(screen.contains("ben's worker, was killed"), "{screen}");
        let printed = self.xtask(&["demo", "down"])?;
        ensure!(printed.contains("removed "), "{printed}");
        Ok(())
    }

    fn wait_for(&self, text: &str) -> Result<()> {
        if wait(LIMIT, || Ok(self.screen()?.contains(text)))? {
            return Ok(());
        }
        bail!("timed out waiting for {text:?}:\n{}", self.screen()?)
    }

    fn screen(&self) -> Result<String> {
        output(&mut self.tmux_command(&["capture-pane", "-p", "-J"]))
    }

    fn tmux(&self, arguments: &[&str]) -> Result<()> {
        output(&mut self.tmux_command(arguments)).map(drop)
    }

    fn tmux_command(&self, arguments: &[&str]) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.args(["-u", "-f", "/dev/null", "-S"])
            .arg(self.directory.path().join("s"))
            .args(arguments)
            .env_remove("TMUX");
        tmux
    }
}

/// The path of this program. An earlier step can have built this program again: the link `/proc/self/exe` then ends with
/// ` (deleted)`, and the path without this ending is the new program.
fn this_program() -> Result<PathBuf> {
    Ok(dev_binaries()?.join(env!("CARGO_BIN_NAME")))
}

impl Drop for DemoEnvironment {
    fn drop(&mut self) {
        // After a failure a team may still be up.
        let _stopped = self.xtask(&["demo", "down"]);
        let _gone = succeeds(&mut self.tmux_command(&["kill-server"]));
    }
}
