//! The terminal interface of an external agent, on the side of the agent's loop, which requests the start and the end
//! of the program. `agent/own_terminal` is the side of the worker, which owns the inner pty.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use agent_team_system::process::ProcessId;
use tokio::sync::{mpsc, oneshot, watch};

/// How long [`RunningTerminal::stop`] waits for the exit. The worker kills the program earlier, so that this limit is
/// reached only if the worker is blocked.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A request of the loop to the worker.
pub(crate) enum TerminalRequest {
    Start {
        command: Vec<String>,
        env: Vec<(OsString, OsString)>,
        /// The worker runs no other program. When this program is terminated, all descendants of the worker are
        /// terminated.
        is_alone: bool,
        started: oneshot::Sender<io::Result<StartedProgram>>,
    },
    /// Terminates this program and its children.
    End(ProcessId),
}

/// A program that was started on the inner pty.
pub(crate) struct StartedProgram {
    pub(crate) process: ProcessId,
    /// `None` while the program runs; then the reason of its end.
    pub(crate) ended: watch::Receiver<Option<String>>,
}

/// The loop's access to the inner pty.
#[derive(Clone)]
pub(in crate::agent) struct TerminalHandle {
    requests: mpsc::UnboundedSender<TerminalRequest>,
}

impl TerminalHandle {
    pub(in crate::agent) fn channel() -> (Self, mpsc::UnboundedReceiver<TerminalRequest>) {
        let (requests, receiver) = mpsc::unbounded_channel();
        (Self { requests }, receiver)
    }

    /// Starts a program on the inner pty, where only one program runs at a time. `is_alone`: the worker runs no program
    /// outside the pty.
    pub(super) async fn start(
        &self,
        command: Vec<String>,
        env: Vec<(OsString, OsString)>,
        is_alone: bool,
    ) -> io::Result<RunningTerminal> {
        let (started, answer) = oneshot::channel();
        let start = TerminalRequest::Start {
            command,
            env,
            is_alone,
            started,
        };
        let worker_exiting = || io::Error::other("the worker is exiting");
        self.requests.send(start).map_err(|_| worker_exiting())?;
        let started = answer.await.map_err(|_| worker_exiting())??;
        Ok(RunningTerminal {
            handle: self.clone(),
            started,
        })
    }
}

/// A running program. Dropping it terminates the program.
pub(super) struct RunningTerminal {
    handle: TerminalHandle,
    started: StartedProgram,
}

impl RunningTerminal {
    /// The process, if it has not exited.
    pub(super) fn process(&self) -> Option<ProcessId> {
        let has_ended = self.started.ended.borrow().is_some();
        (!has_ended).then_some(self.started.process)
    }

    /// Waits for the exit of the program, and returns the reason. Cancel-safe.
    pub(super) async fn ended(&mut self) -> String {
        let ended = self.started.ended.wait_for(Option::is_some).await;
        let reason = ended.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| "its terminal was closed".to_owned())
    }

    /// Terminates the program, and waits for its exit, for at most [`STOP_LIMIT`].
    pub(super) async fn stop(&mut self) {
        self.end();
        let _late = tokio::time::timeout(STOP_LIMIT, self.ended()).await;
    }

    fn end(&self) {
        // Without a receiver, the worker is exiting, and terminates the program.
        let _exiting = self
            .handle
            .requests
            .send(TerminalRequest::End(self.started.process));
    }
}

impl Drop for RunningTerminal {
    fn drop(&mut self) {
        self.end();
    }
}
