//! Starts shell scripts as child processes, and reads their output line by line.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use agent_team_system::process::{ProcessId, Signal};
use agent_team_system::spawn::{Child, ProgramSpec, spawn_session};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe;

/// Timeout of each wait; longer than any wait takes on the slowest machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn shell(script: &str, env: &[(&str, &str)]) -> ProgramSpec {
    let mut variables: Vec<(OsString, OsString)> = env
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    variables.push(("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()));
    ProgramSpec {
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        env: variables,
        cwd: "/".into(),
    }
}

/// A script in its own session. Dropping the value kills the process of the script, but not its children: tests of
/// process trees kill those.
pub(crate) struct Script {
    pub(crate) child: Child,
    lines: Lines<BufReader<pipe::Receiver>>,
}

impl Script {
    pub(crate) fn start(script: &str, env: &[(&str, &str)]) -> Script {
        let (output, input) = io::pipe().unwrap();
        let child =
            spawn_session(&shell(script, env), Some(File::from(OwnedFd::from(input)))).unwrap();
        let output = pipe::Receiver::from_owned_fd(output.into()).unwrap();
        Script {
            child,
            lines: BufReader::new(output).lines(),
        }
    }

    pub(crate) async fn line(&mut self) -> String {
        let line = tokio::time::timeout(LIMIT, self.lines.next_line()).await;
        line.expect("the script prints a line in time")
            .unwrap()
            .expect("the script has not closed its output")
    }

    /// Reads a line with the pid of a process that keeps running.
    pub(crate) async fn process(&mut self) -> ProcessId {
        let pid = self.line().await.trim().parse().unwrap();
        ProcessId::of(pid).unwrap().expect("the process runs")
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.child.signal(Signal::SIGKILL).unwrap();
    }
}

/// Kills a process on drop, even if the test has failed.
pub(crate) struct KillOnDrop(pub(crate) ProcessId);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.signal(Signal::SIGKILL).unwrap();
    }
}
