//! The program of an external agent, and the JSON-RPC connection over its stdin and stdout, or to the socket at which it
//! listens. Shared by the protocols that work this way.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_team_client::json_rpc::{Incoming, Rpc, RpcError, Tasks};
use agent_team_system::process::ProcessId;
use agent_team_tools::program::{Program, ProgramEnd, describe_exit};
use agent_team_tools::tail::Tail;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::channel::{AgentProgram, OpenError, TurnError};

/// The number of bytes of the program's last errors that are kept for the user.
const TAIL_BYTES: usize = 1 << 10;

/// The time for which the exit of a program is awaited after the end of its output.
const EXIT_LIMIT: Duration = Duration::from_millis(500);

/// Dropping it kills the program and every process that it started.
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
    /// If the program cannot be started, or ends before the connection is open.
    pub(super) async fn start_server<S: AsyncRead + AsyncWrite + Send + 'static>(
        program: &AgentProgram,
        args: Vec<OsString>,
        connect: impl Future<Output = std::io::Result<S>>,
    ) -> std::io::Result<Self> {
        let (running, _stdin, mut stdout) = Program::start_with_stdio(
            program.program.clone(),
            args,
            program.env.clone(),
            program.cwd.clone(),
        )?;
        // A full pipe would stop the program. The task ends with the program's output.
        tokio::spawn(async move { tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await });
        let mut program = RunningProgram::watch(running);
        let stream = tokio::select! {
            stream = connect => stream,
            () = program.ended() => Err(std::io::Error::other(program.exit_within(EXIT_LIMIT).await)),
        }?;
        let (read, written) = tokio::io::split(stream);
        Ok(Self::over((written, read), program))
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

    /// The process of the program, if it has not ended.
    pub(super) fn process(&self) -> Option<ProcessId> {
        self.program.process
    }

    /// The next message. `Err`: why the connection has ended. Cancel-safe.
    pub(super) async fn receive(&mut self) -> Result<Incoming, String> {
        let incoming = tokio::select! {
            biased;
            incoming = self.incoming.recv() => incoming,
            // An escaped process can hold the output open. The last messages are read within the limit.
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
        // An escaped process can hold the pipes open.
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

/// The program, which a task follows to its exit. Dropping it kills the program.
struct RunningProgram {
    process: Option<ProcessId>,
    stop: watch::Sender<bool>,
    /// Returns how the program ended, for the user.
    following: JoinHandle<String>,
    /// What `following` returned.
    exit: Option<String>,
    errors: Arc<Mutex<Tail>>,
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl RunningProgram {
    fn watch(mut running: Program) -> Self {
        let process = running.process();
        let (stop, mut stopped) = watch::channel(false);
        let errors = Arc::new(Mutex::new(Tail::new(TAIL_BYTES)));
        let of_program = Arc::clone(&errors);
        let following = tokio::spawn(async move {
            let stop = async move {
                let _stop = stopped.wait_for(|stop| *stop).await;
            };
            let ended = running
                .finish(None, stop, |bytes| {
                    let mut errors = of_program.lock().unwrap_or_else(PoisonError::into_inner);
                    errors.push(&String::from_utf8_lossy(bytes));
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
            following,
            exit: None,
            errors,
        }
    }

    /// Completes when the program and its processes have ended. Cancel-safe.
    async fn ended(&mut self) {
        if self.exit.is_none() {
            let exit = (&mut self.following).await;
            self.exit = Some(exit.unwrap_or_else(|error| error.to_string()));
        }
    }

    /// Terminates the program.
    async fn stop(&mut self) {
        let _ended = self.stop.send(true);
        self.ended().await;
    }

    /// Waits this long for the exit, and returns why the connection has ended.
    async fn exit_within(&mut self, limit: Duration) -> String {
        let _elapsed = tokio::time::timeout(limit, self.ended()).await;
        let why = self.exit.as_deref().unwrap_or("it has closed its output");
        match self.last_line() {
            Some(last) => format!("{why}: {last}"),
            None => why.to_owned(),
        }
    }

    /// The last line of the program's errors.
    fn last_line(&self) -> Option<String> {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.text().trim().lines().last().map(str::to_owned)
    }
}
