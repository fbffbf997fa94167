//! The terminal interface of an agent in the pane, as a second client of the agent's server. Called by `codex` and `opencode`.
//!
//! The member works without this interface. When the interface ends, for example after `/quit`, it is started again.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use agent_team_protocol::text::visible_line;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::channel::AgentProgram;
use super::terminal::{RunningTerminal, TerminalHandle};

/// If an interface runs for less than this time, its end counts as early.
const STEADY: Duration = Duration::from_secs(5);

/// The number of consecutive early ends after which the interface stays closed.
const EARLY_ENDS_MAX: u32 = 3;

pub(super) struct Interface {
    handle: TerminalHandle,
    command: Vec<String>,
    env: Vec<(OsString, OsString)>,
    state: State,
    started_at: Instant,
    early_ends: u32,
}

enum State {
    Closed,
    Starting(JoinHandle<io::Result<RunningTerminal>>),
    Running(RunningTerminal),
}

impl Interface {
    /// `env`: the environment of the interface.
    pub(super) fn new(
        handle: TerminalHandle,
        program: &AgentProgram,
        env: Vec<(OsString, OsString)>,
    ) -> Self {
        let mut command = vec![program.program.to_string_lossy().into_owned()];
        command.extend(program.args.iter().cloned());
        Self {
            handle,
            command,
            env,
            state: State::Closed,
            started_at: Instant::now(),
            early_ends: 0,
        }
    }

    /// Starts the interface with these arguments. Must be called within a tokio runtime.
    pub(super) fn start(&mut self, arguments: &[&str]) {
        let mut command = self.command.clone();
        command.extend(arguments.iter().map(|&word| word.to_owned()));
        let (handle, env) = (self.handle.clone(), self.env.clone());
        self.started_at = Instant::now();
        self.state = State::Starting(tokio::spawn(async move {
            handle.start(command, env, false).await
        }));
    }

    /// Waits for the end of the interface. Returns the reason. Cancel-safe.
    pub(super) async fn ended(&mut self) -> String {
        loop {
            match &mut self.state {
                State::Closed => std::future::pending().await,
                State::Starting(starting) => {
                    let started = starting.await;
                    let started = started.unwrap_or_else(|error| Err(io::Error::other(error)));
                    match started {
                        Ok(running) => self.state = State::Running(running),
                        Err(error) => {
                            self.state = State::Closed;
                            return error.to_string();
                        }
                    }
                }
                State::Running(running) => {
                    let why = running.ended().await;
                    self.state = State::Closed;
                    return why;
                }
            }
        }
    }

    /// Handles the end of the interface. Returns whether it should be started again, and a line for the user.
    pub(super) fn restarts(&mut self, agent: &str, why: &str) -> (bool, String) {
        match self.started_at.elapsed() < STEADY {
            true => self.early_ends += 1,
            false => self.early_ends = 0,
        }
        let why = visible_line(why);
        let restarts = self.early_ends < EARLY_ENDS_MAX;
        let what = match restarts {
            true => "has ended and is opened again",
            false => "ends at once and stays closed",
        };
        let line = format!("the terminal interface of {agent} {what}: {why}");
        (restarts, line)
    }

    /// Terminates the interface, and waits for its end.
    pub(super) async fn stop(&mut self) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Closed => {}
            State::Starting(starting) => {
                // Dropping the result terminates the program.
                let _started = starting.await;
            }
            State::Running(mut running) => running.stop().await,
        }
    }
}
