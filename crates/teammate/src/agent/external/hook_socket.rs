//! Calls of the hooks of an external agent: a Unix socket at which the agent's hook programs ask the worker. Opened by
//! the side channel. The agent starts [`call`] as its hook program.
//!
//! Only the agent's program and its descendants may connect, as at the socket of the team's tools. A frame consists of
//! its length, as 8 bytes in big-endian order, and JSON. The connection stays open until the answer, so the worker
//! notices when the agent ends the hook program: the agent then needs no answer.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use agent_team_system::process::ProcessId;
use agent_team_system::socket::{Listener, Stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use super::agent_socket::{AgentSocket, SocketService};

/// The purposes of hooks, as words of the agent's settings. `must`: the agent must not execute the call without an
/// answer. `may`: the agent continues without an answer. `mail`: the hook waits for a message.
pub(super) const MUST: &str = "must";
pub(super) const MAY: &str = "may";
pub(super) const MAIL: &str = "mail";

/// The exit code with which a hook blocks a call.
const BLOCKS: u8 = 2;

/// The largest frame, in bytes.
const FRAME_MAX: u64 = 64 << 20;

/// The time limit of an answer that a call must wait for. It must be shorter than the agent's own limit: after its own
/// limit, the agent executes the call.
const MUST_LIMIT: Duration = Duration::from_secs(30);

/// The time limit of a frame.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// The largest number of connections.
const CONNECTIONS_MAX: usize = 256;

#[derive(Debug, Serialize, Deserialize)]
struct HookRequest {
    purpose: String,
    /// The agent's input for the hook.
    input: Value,
}

/// The exit code and the output of the hook program.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct HookAnswer {
    pub(super) exit: u8,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// A call of a hook. Dropping it blocks a call that must not be executed without an answer. For every other purpose,
/// the hook program then exits without a decision.
pub(super) struct HookCall {
    pub(super) connection: u64,
    pub(super) purpose: String,
    pub(super) input: Value,
    answer: oneshot::Sender<HookAnswer>,
}

impl HookCall {
    /// The working directory of the agent. Empty if the agent does not report it.
    pub(super) fn cwd(&self) -> PathBuf {
        PathBuf::from(self.input["cwd"].as_str().unwrap_or_default())
    }

    pub(super) fn answer(self, answer: HookAnswer) {
        // The agent may have ended the hook program meanwhile.
        let _gone = self.answer.send(answer);
    }

    /// A call, and the receiver of its answer.
    #[cfg(test)]
    pub(super) fn for_test(connection: u64) -> (Self, oneshot::Receiver<HookAnswer>) {
        let (answer, answered) = oneshot::channel();
        let call = Self {
            connection,
            purpose: MUST.to_owned(),
            input: Value::Null,
            answer,
        };
        (call, answered)
    }

    /// Answers with `decision`, which the hook program prints.
    pub(super) fn print(self, decision: &Value) {
        self.answer(HookAnswer {
            stdout: decision.to_string(),
            ..HookAnswer::default()
        });
    }

    /// Blocks a call that must not be executed without an answer. Makes no decision for any other hook.
    pub(super) fn answer_nothing(self) {
        drop(self);
    }

    /// Lets the hook program exit without a decision.
    pub(super) fn pass(self) {
        self.answer(HookAnswer::default());
    }
}

pub(super) enum HookEvent {
    Called(HookCall),
    /// The connection with this number was closed without an answer: the agent has ended the hook program.
    Gone(u64),
}

/// Receives hooks at this path. Must be called within a tokio runtime.
pub(super) fn open(
    listener: Listener,
    socket: &Path,
    agent: ProcessId,
) -> (AgentSocket, mpsc::UnboundedReceiver<HookEvent>) {
    let (events, receiver) = mpsc::unbounded_channel();
    let service = SocketService {
        name: "hooks",
        agent,
        connections_max: CONNECTIONS_MAX,
    };
    let mut number = 0;
    let agent_socket = AgentSocket::open(listener, socket, service, move |stream| {
        number += 1;
        serve(stream, number, events.clone())
    });
    (agent_socket, receiver)
}

async fn serve(stream: Stream, connection: u64, events: mpsc::UnboundedSender<HookEvent>) {
    let answered = answer(stream, connection, &events).await;
    if let Err(error) = &answered {
        tracing::debug!(%error, "a hook of the agent failed");
    }
    if !answered.unwrap_or(false) {
        // The receiver is gone once the channel has ended.
        let _ended = events.send(HookEvent::Gone(connection));
    }
}

/// Answers the call of one connection. Returns whether the hook program has received an answer.
async fn answer(
    stream: Stream,
    connection: u64,
    events: &mpsc::UnboundedSender<HookEvent>,
) -> std::io::Result<bool> {
    let (mut reader, mut writer) = stream.into_halves();
    let frame = async {
        let length = reader.read_u64().await?;
        if length > FRAME_MAX {
            return Err(std::io::Error::other("the frame is too large"));
        }
        let mut bytes = Vec::new();
        (&mut reader).take(length).read_to_end(&mut bytes).await?;
        Ok(bytes)
    };
    let bytes = tokio::time::timeout(READ_LIMIT, frame).await??;
    let HookRequest { purpose, input } = serde_json::from_slice(&bytes)?;
    let (answer, answered) = oneshot::channel();
    let call = HookCall {
        connection,
        purpose,
        input,
        answer,
    };
    events
        .send(HookEvent::Called(call))
        .map_err(|_| std::io::Error::other("the side channel has ended"))?;
    let mut nothing = [0];
    let answer = tokio::select! {
        answer = answered => answer.map_err(std::io::Error::other)?,
        _closed = reader.read(&mut nothing) => return Ok(false),
    };
    let bytes = serde_json::to_vec(&answer)?;
    writer.write_u64(bytes.len() as u64).await?;
    writer.write_all(&bytes).await?;
    writer.flush().await?;
    Ok(true)
}

/// Passes stdin to the worker at this socket, then prints the worker's answer and exits with its code.
pub(crate) fn call(socket: &Path, purpose: &str) -> ExitCode {
    match answer_of_worker(socket, purpose) {
        Ok(answer) => {
            // If the output has no reader, the agent has ended the hook program.
            let _closed = std::io::stdout().write_all(answer.stdout.as_bytes());
            let _closed = std::io::stderr().write_all(answer.stderr.as_bytes());
            ExitCode::from(answer.exit)
        }
        Err(error) if purpose == MUST => {
            let why =
                format!("agent-team cannot decide about this call, so it is blocked: {error}\n");
            // The exit code alone blocks the call.
            let _closed = std::io::stderr().write_all(why.as_bytes());
            ExitCode::from(BLOCKS)
        }
        Err(_) => ExitCode::SUCCESS,
    }
}

fn answer_of_worker(socket: &Path, purpose: &str) -> std::io::Result<HookAnswer> {
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input)?;
    let request = HookRequest {
        purpose: purpose.to_owned(),
        input: serde_json::from_slice(&input)?,
    };
    let bytes = serde_json::to_vec(&request)?;
    let mut stream = UnixStream::connect(socket)?;
    if purpose == MUST {
        stream.set_read_timeout(Some(MUST_LIMIT))?;
        stream.set_write_timeout(Some(MUST_LIMIT))?;
    }
    stream.write_all(&(bytes.len() as u64).to_be_bytes())?;
    stream.write_all(&bytes)?;
    let mut length = [0; 8];
    stream.read_exact(&mut length)?;
    let mut answer = Vec::new();
    stream
        .take(u64::from_be_bytes(length).min(FRAME_MAX))
        .read_to_end(&mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}
