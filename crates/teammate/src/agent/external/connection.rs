//! The program of an external agent, and the JSON-RPC connection to it: over its stdin and stdout, or to a socket at
//! which the program listens. Called by `acp`, `codex` and `probe`.

use std::ffi::OsString;

use agent_team_client::json_rpc::{Incoming, Rpc, RpcError, Tasks};
use agent_team_system::process::ProcessId;
use agent_team_tools::program::Program;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::channel::{AgentProgram, OpenError, TurnError};
use super::running_program::{EXIT_LIMIT, RunningProgram};

/// A running program and its connection. Dropping it kills the program and every process that it started.
pub(super) struct Connection {
    pub(super) rpc: Rpc,
    incoming: mpsc::Receiver<Incoming>,
    _tasks: Tasks,
    program: RunningProgram,
}

impl Connection {
    /// Starts the program. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(super) fn start(program: &AgentProgram) -> std::io::Result<Self> {
        let (running, stdin, stdout) = Program::start_with_stdio(
            program.program.clone(),
            program.args.iter().map(OsString::from).collect(),
            program.env.clone(),
            program.cwd.clone(),
        )?;
        Ok(Self::over((stdin, stdout), RunningProgram::watch(running)))
    }

    /// Starts a program with these arguments, and connects to it with `connect`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the program cannot be started, or exits before the connection is open.
    pub(super) async fn start_server<S: AsyncRead + AsyncWrite + Send + 'static>(
        program: &AgentProgram,
        args: Vec<OsString>,
        connect: impl Future<Output = std::io::Result<S>>,
    ) -> std::io::Result<Self> {
        let (mut running, mut stdout) = RunningProgram::start(program, args, program.env.clone())?;
        // A full pipe would stop the program. The task ends with the program's output.
        tokio::spawn(async move { tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await });
        let stream = tokio::select! {
            stream = connect => stream,
            () = running.ended() => Err(std::io::Error::other(running.exit_within(EXIT_LIMIT).await)),
        }?;
        let (read, written) = tokio::io::split(stream);
        Ok(Self::over((written, read), running))
    }

    fn over(
        (output, input): (
            impl AsyncWrite + Send + Unpin + 'static,
            impl AsyncRead + Send + Unpin + 'static,
        ),
        program: RunningProgram,
    ) -> Self {
        let (rpc, incoming, tasks) = Rpc::connect(output, input);
        Self {
            rpc,
            incoming,
            _tasks: tasks,
            program,
        }
    }

    /// The process of the program, if it has not exited.
    pub(super) fn process(&self) -> Option<ProcessId> {
        self.program.process
    }

    /// The next message. `Err`: why the connection has ended. Cancel-safe.
    pub(super) async fn receive(&mut self) -> Result<Incoming, String> {
        let incoming = tokio::select! {
            biased;
            incoming = self.incoming.recv() => incoming,
            // A process that has left the process tree can keep the output open. Read the last messages, but only
            // within the limit.
            () = self.program.ended() => {
                let last = tokio::time::timeout(EXIT_LIMIT, self.incoming.recv()).await;
                last.ok().flatten()
            }
        };
        match incoming {
            Some(incoming) => Ok(incoming),
            None => Err(self.program.exit_within(EXIT_LIMIT).await),
        }
    }

    /// A message that has already arrived.
    pub(super) fn try_receive(&mut self) -> Option<Incoming> {
        self.incoming.try_recv().ok()
    }

    /// Sends a request of the start. Drops the messages that arrive before the answer: a resumed session repeats its
    /// history.
    ///
    /// # Errors
    /// The error of the agent, or the end of the connection.
    pub(super) async fn request(&mut self, method: &str, params: Value) -> Result<Value, RpcError> {
        let mut answer = std::pin::pin!(self.rpc.request(method, params));
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                Some(history) = self.incoming.recv() => drop(history),
            }
        }
    }

    /// Terminates the program: TERM, then KILL. Returns the last line of its errors, if any.
    pub(super) async fn stop(&mut self) -> Option<String> {
        self.program.stop().await;
        // A process that has left the process tree can keep the pipes open.
        self.rpc.close();
        self.program.last_line()
    }
}

pub(super) fn parse<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("it sent an invalid message: {error}"))
}

impl From<RpcError> for OpenError {
    fn from(error: RpcError) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<RpcError> for TurnError {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Refused { text, .. } => Self::Failed(text),
            RpcError::Closed => Self::Closed,
        }
    }
}
