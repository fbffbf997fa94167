//! A typed client of the supervisor: one connection. Called by sessions, workers, the library and tests.
//!
//! ```text
//! Client::call ──┐                 ┌── responses ──► the waiting call
//!                ├─ writer ─ socket ─ reader
//! Client::notify ┘                 └── all other frames ──► Incoming
//! ```
//! When the connection closes, every waiting call fails with [`CallError::Disconnected`] and [`Incoming::next`] returns
//! `None`. Nothing is retried here: only the caller knows the idempotency key of its call.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_team_protocol::Refusal;
use agent_team_protocol::codec::FRAME_MAX;
use agent_team_protocol::initialize::{Initialize, Initialized};
use agent_team_protocol::method::Method;
use agent_team_protocol::notification::Notification;
use agent_team_protocol::rpc::{self, Call, Frame, FrameKind};
use agent_team_system::connection::{FrameReader, FrameWriter, ReadFrameError};
use agent_team_system::socket::Stream;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

/// How long a supervisor may take to answer `initialize`. A supervisor accepts connections before it has restored its
/// teams; the restore takes seconds for the largest teams.
const INITIALIZE_LIMIT: Duration = Duration::from_secs(30);

/// Capacity of the queue of outgoing frames, and of the queue behind [`Incoming`].
const QUEUE_FRAMES: usize = 1024;

/// One write takes frames from the queue until it has this many bytes or the queue is empty.
const WRITE_BYTES: usize = 256 * 1024;

/// The id of `initialize`; the ids of calls follow it.
const INITIALIZE_ID: u64 = 0;

/// Why the connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no supervisor answers at {}", path.display())]
    Unreachable { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the supervisor exited before it answered")]
    Ended,
    #[error("the supervisor did not answer within {INITIALIZE_LIMIT:?}")]
    TimedOut,
    /// Only the signal SIGCONT resumes the process.
    #[error("the supervisor, process {pid}, is stopped")]
    Stopped { pid: u32 },
    #[error("the peer does not speak the agent-team protocol: {0}")]
    Protocol(String),
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is unknown whether the call took effect. Repeating the call with the same key is safe.
    #[error("the connection to the supervisor closed")]
    Disconnected,
    #[error("cannot decode the answer to {method}")]
    Answer {
        method: &'static str,
        source: serde_json::Error,
    },
}

/// The connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection to the supervisor closed")]
pub struct Disconnected;

/// One connection; clones share it. It closes when the last clone and [`Incoming`] are dropped.
#[derive(Clone, Debug)]
pub struct Client {
    outgoing: mpsc::Sender<String>,
    calls: Arc<Calls>,
    initialized: Arc<Initialized>,
}

/// Notifications and requests of the supervisor. The caller must read them: while the queue is full, calls receive no
/// responses either, and the supervisor finally closes the connection.
#[derive(Debug)]
pub struct Incoming {
    arrivals: mpsc::Receiver<Arrival>,
    /// Keeps the connection open for a client that only listens.
    _client: Client,
}

/// An incoming frame that is not a response.
#[derive(Debug)]
pub enum Arrival {
    Notification {
        method: String,
        params: Box<RawValue>,
    },
    /// The request must be answered by [`Client::answer`] or [`Client::refuse`] with this id.
    Request {
        id: Box<RawValue>,
        method: String,
        params: Box<RawValue>,
    },
}

type Outcome = Result<Box<RawValue>, Refusal>;

#[derive(Debug, Default)]
struct Calls {
    last_id: AtomicU64,
    /// The waiting calls by id, so that they fail in this order when the connection closes. `None`: the connection has
    /// closed.
    waiting: Mutex<Option<BTreeMap<u64, oneshot::Sender<Outcome>>>>,
}

/// A connection on which `initialize` was sent but not yet answered.
#[derive(Debug)]
pub struct Handshake {
    reader: FrameReader,
    writer: FrameWriter,
}

impl Handshake {
    /// Connects to a supervisor's socket and sends `initialize`.
    ///
    /// # Errors
    /// The socket is unreachable, or the connection closes before `initialize` is sent.
    pub async fn start(path: &Path, initialize: &Initialize) -> Result<Handshake, ConnectError> {
        let stream = Stream::connect(path)
            .await
            .map_err(|source| ConnectError::Unreachable {
                path: path.to_owned(),
                source,
            })?;
        let (reader, writer) = stream.into_halves();
        let reader = FrameReader::new(reader, FRAME_MAX);
        Handshake::start_over(reader, FrameWriter::new(writer), initialize).await
    }

    async fn start_over(
        reader: FrameReader,
        mut writer: FrameWriter,
        initialize: &Initialize,
    ) -> Result<Handshake, ConnectError> {
        writer.queue(&rpc::initialize(INITIALIZE_ID, initialize));
        // The first frame fits into the empty socket buffer, so the flush does not wait for the peer.
        writer
            .flush()
            .await
            .map_err(|_broken| ConnectError::Ended)?;
        Ok(Handshake { reader, writer })
    }

    /// Waits for the answer to `initialize`, and starts the tokio tasks that read and write.
    ///
    /// # Errors
    /// The supervisor refuses the connection, closes it, does not answer in time, or answers in another protocol.
    pub async fn finish(self) -> Result<(Client, Incoming), ConnectError> {
        let Handshake { mut reader, writer } = self;
        let answer = read_initialized(&mut reader);
        let initialized = tokio::time::timeout(INITIALIZE_LIMIT, answer)
            .await
            .map_err(|_elapsed| ConnectError::TimedOut)??;

        let (outgoing, lines) = mpsc::channel(QUEUE_FRAMES);
        let (arrival_sender, arrivals) = mpsc::channel(QUEUE_FRAMES);
        let calls = Arc::new(Calls {
            last_id: AtomicU64::new(INITIALIZE_ID),
            waiting: Mutex::new(Some(BTreeMap::new())),
        });
        tokio::spawn(write(writer, lines));
        tokio::spawn(read(reader, Arc::clone(&calls), arrival_sender));
        let client = Client {
            outgoing,
            calls,
            initialized: Arc::new(initialized),
        };
        Ok((
            client.clone(),
            Incoming {
                arrivals,
                _client: client,
            },
        ))
    }
}

impl Client {
    /// Connects to a supervisor's socket and completes the handshake.
    ///
    /// # Errors
    /// As [`Handshake::start`] and [`Handshake::finish`].
    pub async fn connect(
        path: &Path,
        initialize: &Initialize,
    ) -> Result<(Client, Incoming), ConnectError> {
        Handshake::start(path, initialize).await?.finish().await
    }

    /// Completes the handshake on an existing connection.
    ///
    /// # Errors
    /// As [`Handshake::finish`].
    pub async fn over(
        stream: Stream,
        initialize: &Initialize,
    ) -> Result<(Client, Incoming), ConnectError> {
        let (reader, writer) = stream.into_halves();
        let reader = FrameReader::new(reader, FRAME_MAX);
        Client::over_frames(reader, FrameWriter::new(writer), initialize).await
    }

    /// Like [`Client::over`], for any pair of byte streams. `reader` must accept frames of up to [`FRAME_MAX`] bytes.
    ///
    /// # Errors
    /// As [`Handshake::finish`].
    pub async fn over_frames(
        reader: FrameReader,
        writer: FrameWriter,
        initialize: &Initialize,
    ) -> Result<(Client, Incoming), ConnectError> {
        let handshake = Handshake::start_over(reader, writer, initialize).await?;
        handshake.finish().await
    }

    /// Whether the connection has closed. Calls over a closed connection fail.
    pub(crate) fn is_closed(&self) -> bool {
        self.calls.waiting().is_none()
    }

    /// The supervisor's answer to `initialize`.
    pub fn initialized(&self) -> &Initialized {
        &self.initialized
    }

    /// Calls a method and waits for its answer, which the supervisor sends once the result is stored. Dropping the
    /// future does not cancel the call in the supervisor.
    ///
    /// # Errors
    /// The supervisor refuses the call, the connection is closed, or the answer cannot be decoded.
    pub async fn call<M: Method>(&self, call: &Call<M::Args>) -> Result<M::Answer, CallError> {
        let answer = self.call_named(M::NAME, call).await?;
        serde_json::from_str(answer.get()).map_err(|source| CallError::Answer {
            method: M::NAME,
            source,
        })
    }

    /// [`Client::call`] of a method by name; returns the JSON of the answer.
    ///
    /// # Errors
    /// The supervisor refuses the call, or the connection is closed.
    pub async fn call_named(
        &self,
        method: &str,
        call: &Call<impl Serialize>,
    ) -> Result<Box<RawValue>, CallError> {
        let id = self.calls.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        // The call is registered before it is sent. Otherwise the reading task could receive the answer first, find no
        // call with this id and drop it. If the connection closes in between, the reading task drops the sender, so
        // this call fails instead of waiting forever.
        let (answer_sender, answer) = oneshot::channel();
        self.calls
            .waiting()
            .as_mut()
            .ok_or(CallError::Disconnected)?
            .insert(id, answer_sender);
        self.send(rpc::request_named(id, method, call))
            .await
            .map_err(|_| CallError::Disconnected)?;
        Ok(answer.await.map_err(|_ended| CallError::Disconnected)??)
    }

    /// Sends a notification; waits only while the outgoing queue is full.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn notify<N: Notification>(&self, notification: &N) -> Result<(), Disconnected> {
        self.send(rpc::notification(notification)).await
    }

    /// Answers an [`Arrival::Request`]. Fails only if the connection is closed.
    pub async fn answer(&self, id: &RawValue, result: &impl Serialize) -> Result<(), Disconnected> {
        self.send(rpc::result(id, result)).await
    }

    /// Refuses an [`Arrival::Request`]. Fails only if the connection is closed.
    pub async fn refuse(&self, id: &RawValue, refusal: Refusal) -> Result<(), Disconnected> {
        self.send(rpc::error(id, refusal)).await
    }

    async fn send(&self, line: String) -> Result<(), Disconnected> {
        // The queue accepts lines even after the peer has closed the connection: the writing task ends only when a
        // write fails. The reading task notices the end first, and marks it in `calls`.
        if self.calls.waiting().is_none() {
            return Err(Disconnected);
        }
        self.outgoing.send(line).await.map_err(|_| Disconnected)
    }
}

impl Incoming {
    /// The next notification or request; `None` when the connection has closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }
}

impl Calls {
    fn waiting(&self) -> MutexGuard<'_, Option<BTreeMap<u64, oneshot::Sender<Outcome>>>> {
        // A panic cannot leave the map inconsistent: the lock is never held over more than one operation on the map.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes the outcome to the call with this id, if that call still waits.
    fn settle(&self, id: &RawValue, outcome: Outcome) {
        let id: Option<u64> = id.get().parse().ok();
        let mut waiting = self.waiting();
        let answer_sender = id.and_then(|id| waiting.as_mut()?.remove(&id));
        // Sending fails if the caller has dropped its call.
        let _dropped = answer_sender.map(|answer_sender| answer_sender.send(outcome));
    }
}

async fn read_initialized(reader: &mut FrameReader) -> Result<Initialized, ConnectError> {
    let frame = match reader.next().await {
        Ok(frame) => frame.ok_or(ConnectError::Ended)?,
        Err(ReadFrameError::Io(_)) => return Err(ConnectError::Ended),
        Err(ReadFrameError::Frame(error)) => return Err(ConnectError::Protocol(error.to_string())),
    };
    let invalid = |text: &str| ConnectError::Protocol(text.chars().take(200).collect());
    match Frame::parse(&frame).and_then(Frame::kind) {
        Ok(FrameKind::Response {
            outcome: Ok(result),
            ..
        }) => serde_json::from_str(result.get()).map_err(|error| invalid(&error.to_string())),
        Ok(FrameKind::Response {
            outcome: Err(error),
            ..
        }) => Err(Refusal::from(error).into()),
        Ok(FrameKind::Request { .. } | FrameKind::Notification { .. }) | Err(_) => {
            Err(invalid(&frame))
        }
    }
}

/// The tokio task that writes. It ends when the last client is dropped. Dropping the write half then closes the
/// connection for the supervisor.
async fn write(mut writer: FrameWriter, mut lines: mpsc::Receiver<String>) {
    while let Some(line) = lines.recv().await {
        writer.queue(&line);
        while writer.queued() < WRITE_BYTES {
            let Ok(line) = lines.try_recv() else { break };
            writer.queue(&line);
        }
        if writer.flush().await.is_err() {
            // The reading task sees the closed connection too, and fails the calls.
            return;
        }
    }
}

/// The tokio task that reads. Ends with the connection.
async fn read(mut reader: FrameReader, calls: Arc<Calls>, arrival_sender: mpsc::Sender<Arrival>) {
    loop {
        match reader.next().await {
            Ok(Some(frame)) => {
                if let Some(arrival) = dispatch(&frame, &calls) {
                    // Sending fails once `Incoming` is dropped. Keep reading: calls still wait for responses.
                    let _dropped = arrival_sender.send(arrival).await;
                }
            }
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "connection to the supervisor closed");
                break;
            }
        }
    }
    // Dropping the senders fails the waiting calls.
    *calls.waiting() = None;
}

/// Passes a response to its call; returns all other frames.
fn dispatch(frame: &str, calls: &Calls) -> Option<Arrival> {
    match Frame::parse(frame).and_then(Frame::kind) {
        Ok(FrameKind::Response { id, outcome }) => {
            calls.settle(id, outcome.map(ToOwned::to_owned).map_err(Refusal::from));
            None
        }
        Ok(FrameKind::Notification { method, params }) => Some(Arrival::Notification {
            method,
            params: params.to_owned(),
        }),
        Ok(FrameKind::Request { id, method, params }) => Some(Arrival::Request {
            id: id.to_owned(),
            method,
            params: params.to_owned(),
        }),
        Err(refusal) => {
            tracing::warn!(%refusal, "frame skipped");
            None
        }
    }
}
