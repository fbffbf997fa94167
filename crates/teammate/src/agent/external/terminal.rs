//! The agent's own terminal interface: the side of the loop, which starts and ends the program. The worker's side,
//! which owns the inner pty, is `agent/own_terminal`.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use agent_team_system::process::ProcessId;
use tokio::sync::{mpsc, oneshot, watch};

/// The time limit of the end of the program. The worker kills it earlier.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// An order of the loop to the worker.
pub(crate) enum TerminalRequest {
    Start {
        command: Vec<String>,
        env: Vec<(OsString, OsString)>,
        /// The worker runs no other program: all processes below it end with this one.
        is_alone: bool,
        started: oneshot::Sender<io::Result<Started>>,
    },
    /// Terminates this program and its children.
    End(ProcessId),
}

/// A program that runs on the inner pty.
pub(crate) struct Started {
    pub(crate) process: ProcessId,
    /// Why the program has ended, once it has.
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

    /// Starts a program. Only one program runs at a time. With `is_alone`, the worker runs no other program beside the
    /// terminal.
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
        let is_gone = || io::Error::other("the worker is exiting");
        self.requests.send(start).map_err(|_| is_gone())?;
        let started = answer.await.map_err(|_| is_gone())??;
        Ok(RunningTerminal {
            handle: self.clone(),
            started,
        })
    }
}

/// A running program. Dropping it terminates the program.
pub(super) struct RunningTerminal {
    handle: TerminalHandle,
    started: Started,
}

impl RunningTerminal {
    /// The process, if it has not ended.
    pub(super) fn process(&self) -> Option<ProcessId> {
        let has_ended = self.started.ended.borrow().is_some();
        (!has_ended).then_some(self.started.process)
    }

    /// Waits for the end of the program, and returns the reason. Cancel-safe.
    pub(super) async fn ended(&mut self) -> String {
        let ended = self.started.ended.wait_for(Option::is_some).await;
        let reason = ended.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| "its terminal was closed".to_owned())
    }

    /// Terminates the program, and waits for its end.
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
