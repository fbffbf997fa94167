//! The terminal interface of Codex in the pane: a second client of the app-server. Called by `codex`.
//!
//! The member works without it: it is started again when it ends, such as after `/quit`.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::channel::AgentProgram;
use super::super::terminal::{RunningTerminal, TerminalHandle};

/// An interface that ends earlier is not started again at once.
const STEADY: Duration = Duration::from_secs(5);

/// The number of such ends after which the interface stays closed.
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
    pub(super) fn new(handle: TerminalHandle, program: &AgentProgram) -> Self {
        let mut command = vec![program.program.to_string_lossy().into_owned()];
        command.extend(program.args.iter().cloned());
        Self {
            handle,
            command,
            env: program.env.clone(),
            state: State::Closed,
            started_at: Instant::now(),
            early_ends: 0,
        }
    }

    /// Starts the interface with this conversation. It must contain an item already. Must be called within a tokio
    /// runtime.
    pub(super) fn start(&mut self, thread: &str, socket: &Path) {
        let mut command = self.command.clone();
        let remote = format!("unix://{}", socket.display());
        // The question whether to update would be in front of the conversation.
        let quiet = ["-c", "check_for_update_on_startup=false"];
        let arguments = ["resume", thread, "--remote", &remote];
        let arguments = arguments.into_iter().chain(quiet);
        command.extend(arguments.map(str::to_owned));
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

    /// Whether the interface, which has ended, should be started again.
    pub(super) fn restarts(&mut self) -> bool {
        match self.started_at.elapsed() < STEADY {
            true => self.early_ends += 1,
            false => self.early_ends = 0,
        }
        self.early_ends < EARLY_ENDS_MAX
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
