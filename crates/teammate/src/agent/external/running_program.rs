//! The program of an external agent: starts and stops it, waits for its exit, and keeps the end of its stderr. Used by
//! `connection` and by the servers of agents.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_team_system::process::ProcessId;
use agent_team_tools::program::{Program, ProgramEnd, describe_exit};
use agent_team_tools::tail::Tail;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::channel::AgentProgram;

/// The number of bytes at the end of the program's stderr that are kept for error messages.
const TAIL_BYTES: usize = 1 << 10;

/// How long to wait for the exit of a program after the end of its stdout.
pub(super) const EXIT_LIMIT: Duration = Duration::from_millis(500);

/// A running program. A tokio task reads its stderr and waits for its exit. Dropping this value kills the program.
pub(super) struct RunningProgram {
    pub(super) process: Option<ProcessId>,
    stop: watch::Sender<bool>,
    /// The tokio task. Its result describes the exit, for the user.
    exit_task: JoinHandle<String>,
    /// The result of `exit_task`.
    exit: Option<String>,
    stderr_tail: Arc<Mutex<Tail>>,
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        self.exit_task.abort();
    }
}

impl RunningProgram {
    /// Starts a program without input, with these arguments. Returns its stdout. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(super) fn start(
        program: &AgentProgram,
        args: Vec<OsString>,
        env: Vec<(OsString, OsString)>,
    ) -> std::io::Result<(Self, pipe::Receiver)> {
        let (running, _stdin, stdout) =
            Program::start_with_stdio(program.program.clone(), args, env, program.cwd.clone())?;
        Ok((Self::watch(running), stdout))
    }

    pub(super) fn watch(mut running: Program) -> Self {
        let process = running.process();
        let (stop, mut stopped) = watch::channel(false);
        let stderr_tail = Arc::new(Mutex::new(Tail::new(TAIL_BYTES)));
        let of_program = Arc::clone(&stderr_tail);
        let exit_task = tokio::spawn(async move {
            let stop = async move {
                let _stop = stopped.wait_for(|stop| *stop).await;
            };
            let ended = running
                .finish(None, stop, |bytes| {
                    let mut tail = of_program.lock().unwrap_or_else(PoisonError::into_inner);
                    tail.push(&String::from_utf8_lossy(bytes));
                })
                .await;
            match ended {
                Ok(ProgramEnd::Exited(status)) => describe_exit(status),
                Ok(ProgramEnd::Stopped | ProgramEnd::TimedOut(_) | ProgramEnd::Exceeded(_)) => {
                    "stopped".to_owned()
                }
                Err(error) => error.to_string(),
            }
        });
        Self {
            process,
            stop,
            exit_task,
            exit: None,
            stderr_tail,
        }
    }

    /// Waits for the exit of the program and of its processes. Cancel-safe.
    pub(super) async fn ended(&mut self) {
        if self.exit.is_none() {
            let exit = (&mut self.exit_task).await;
            self.exit = Some(exit.unwrap_or_else(|error| error.to_string()));
        }
    }

    /// Terminates the program, and waits for its exit.
    pub(super) async fn stop(&mut self) {
        let _ended = self.stop.send(true);
        self.ended().await;
    }

    /// Waits at most `limit` for the exit, and returns why the connection has ended.
    pub(super) async fn exit_within(&mut self, limit: Duration) -> String {
        let _elapsed = tokio::time::timeout(limit, self.ended()).await;
        let why = self.exit.as_deref().unwrap_or("it has closed its output");
        match self.last_line() {
            Some(last) => format!("{why}: {last}"),
            None => why.to_owned(),
        }
    }

    /// The last line of the program's stderr.
    pub(super) fn last_line(&self) -> Option<String> {
        let tail = self
            .stderr_tail
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        tail.text().trim().lines().last().map(str::to_owned)
    }
}
