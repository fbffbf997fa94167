//! The simulated network: every connection is two pipes in memory, whose bytes arrive after seeded delays, in pieces of
//! seeded lengths. Connections can be frozen or cut. When a connection is cut, its bytes in flight arrive or are lost.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agent_team_client::{Client, ConnectError};
use agent_team_protocol::codec::FRAME_MAX;
use agent_team_protocol::initialize::Initialize;
use agent_team_system::connection::{FrameReader, FrameWriter};
use agent_team_system::socket::Peer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::torture::caller::{Connect, Connection};
use crate::torture::history::Dice;

/// The maximum number of bytes in flight in one direction. When it is reached, the writer waits, as on a socket.
const CAPACITY: usize = 64 << 10;

/// A client or a worker that has connected, as the supervisor sees it.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) reader: FrameReader,
    pub(super) writer: FrameWriter,
    pub(super) peer: Peer,
}

/// The network. Clones share its state.
#[derive(Debug, Clone)]
pub(super) struct Network(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    dice: RefCell<Dice>,
    frames: Arc<AtomicU64>,
    /// Passes new connections to the listening supervisor; `None` while no supervisor listens.
    listener: RefCell<Option<mpsc::UnboundedSender<Accepted>>>,
    connections: RefCell<BTreeMap<u64, Wires>>,
    next: Cell<u64>,
}

#[derive(Debug)]
struct Wires {
    /// The process at the client's end; `None` for a client without a process.
    pid: Option<u32>,
    to_supervisor: Arc<Mutex<Pipe>>,
    from_supervisor: Arc<Mutex<Pipe>>,
}

impl Wires {
    fn is_closed(&self) -> bool {
        let is_closed = |pipe: &Arc<Mutex<Pipe>>| {
            let pipe = locked(pipe);
            pipe.reader_gone && pipe.closed
        };
        is_closed(&self.to_supervisor) && is_closed(&self.from_supervisor)
    }
}

/// The connections that a fault affects.
#[derive(Debug, Clone, Copy)]
pub(super) enum ConnectionSelector {
    All,
    /// The connections of the process with this pid.
    Of(u32),
    /// One of the open connections, by its number modulo their count.
    Nth(u64),
}

impl Network {
    pub(super) fn new(dice: Dice) -> Self {
        Self(Rc::new(Shared {
            dice: RefCell::new(dice),
            frames: Arc::default(),
            listener: RefCell::default(),
            connections: RefCell::default(),
            next: Cell::new(0),
        }))
    }

    /// Number of frames delivered so far.
    pub(super) fn frames(&self) -> u64 {
        self.0.frames.load(Ordering::Relaxed)
    }

    /// Returns the receiver of new connections. The receiver of an earlier supervisor gets no more connections.
    pub(super) fn listen(&self) -> mpsc::UnboundedReceiver<Accepted> {
        let (listener, accepted) = mpsc::unbounded_channel();
        self.0.listener.replace(Some(listener));
        accepted
    }

    pub(super) fn stop_listening(&self) {
        self.0.listener.replace(None);
    }

    /// Connects to the listening supervisor, if there is one; `pid` is the caller's.
    pub(super) fn dial(&self, pid: Option<u32>) -> Option<(FrameReader, FrameWriter)> {
        let listener = self.0.listener.borrow().clone()?;
        let pipe = || {
            let dice = self.0.dice.borrow_mut().split();
            Arc::new(Mutex::new(Pipe::new(dice, self.0.frames.clone())))
        };
        let (to_supervisor, from_supervisor) = (pipe(), pipe());
        let accepted = Accepted {
            reader: FrameReader::new(PipeReader::of(&to_supervisor), FRAME_MAX),
            writer: FrameWriter::new(PipeWriter(from_supervisor.clone())),
            peer: Peer { pid, uid: 0 },
        };
        listener.send(accepted).ok()?;
        let reader = FrameReader::new(PipeReader::of(&from_supervisor), FRAME_MAX);
        let writer = FrameWriter::new(PipeWriter(to_supervisor.clone()));
        let wires = Wires {
            pid,
            to_supervisor,
            from_supervisor,
        };
        let mut connections = self.0.connections.borrow_mut();
        connections.retain(|_, wires| !wires.is_closed());
        connections.insert(self.0.next.replace(self.0.next.get() + 1), wires);
        Some((reader, writer))
    }

    /// Ends connections for both sides. Bytes in flight arrive before the end, or are lost.
    pub(super) fn cut(&self, which: ConnectionSelector) {
        for wires in self.chosen(which) {
            let is_lost = self.0.dice.borrow_mut().below(2) == 0;
            for pipe in wires {
                locked(&pipe).cut(is_lost);
            }
        }
    }

    /// Delivers no bytes over these connections for this long.
    pub(super) fn freeze(&self, which: ConnectionSelector, lasts: Duration) {
        for pipe in self.chosen(which).into_iter().flatten() {
            locked(&pipe).frozen_until = Some(Instant::now() + lasts);
        }
    }

    fn chosen(&self, which: ConnectionSelector) -> Vec<[Arc<Mutex<Pipe>>; 2]> {
        let connections = self.0.connections.borrow();
        let alive = connections.values().filter(|wires| !wires.is_closed());
        let chosen: Vec<&Wires> = match which {
            ConnectionSelector::All => alive.collect(),
            ConnectionSelector::Of(pid) => alive.filter(|wires| wires.pid == Some(pid)).collect(),
            ConnectionSelector::Nth(nth) => {
                let alive: Vec<&Wires> = alive.collect();
                let index = usize::try_from(nth).unwrap_or(0) % alive.len().max(1);
                alive.get(index).copied().into_iter().collect()
            }
        };
        let pipes = |wires: &Wires| [wires.to_supervisor.clone(), wires.from_supervisor.clone()];
        chosen.into_iter().map(pipes).collect()
    }
}

impl Connect for Network {
    fn connect(
        &self,
        initialize: Initialize,
    ) -> Pin<Box<dyn Future<Output = Option<Connection>> + '_>> {
        Box::pin(async move { introduce(self, None, &initialize).await?.ok() })
    }
}

/// Connects and completes the handshake; `None` when no supervisor listens.
pub(super) async fn introduce(
    network: &Network,
    pid: Option<u32>,
    initialize: &Initialize,
) -> Option<Result<Connection, ConnectError>> {
    let (reader, writer) = network.dial(pid)?;
    Some(Client::over_frames(reader, writer, initialize).await)
}

/// One direction of a connection.
#[derive(Debug)]
struct Pipe {
    dice: Dice,
    /// Pieces with the times at which they arrive, in order.
    queue: VecDeque<(Instant, VecDeque<u8>)>,
    bytes: usize,
    frames: Arc<AtomicU64>,
    closed: bool,
    reader_gone: bool,
    frozen_until: Option<Instant>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn new(dice: Dice, frames: Arc<AtomicU64>) -> Self {
        Self {
            dice,
            queue: VecDeque::new(),
            bytes: 0,
            frames,
            closed: false,
            reader_gone: false,
            frozen_until: None,
            reader: None,
            writer: None,
        }
    }

    fn delay(&mut self) -> Duration {
        let ms = match self.dice.below(100) {
            0..70 => 0,
            70..95 => 1 + self.dice.below(3),
            _ => 5 + self.dice.below(40),
        };
        Duration::from_millis(ms)
    }

    fn cut(&mut self, is_lost: bool) {
        if is_lost {
            self.queue.clear();
            self.bytes = 0;
        }
        self.closed = true;
        self.wake();
    }

    fn wake(&mut self) {
        let wakers = [self.reader.take(), self.writer.take()];
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// When the next piece arrives.
    fn due(&self) -> Option<Instant> {
        let (at, _) = self.queue.front()?;
        Some(self.frozen_until.map_or(*at, |until| until.max(*at)))
    }
}

fn locked(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    // Only one thread uses the lock, and a crash of a supervisor never unwinds in the middle of a change, so poisoning
    // is ignored.
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

struct PipeReader {
    pipe: Arc<Mutex<Pipe>>,
    arrival: Option<Pin<Box<Sleep>>>,
}

impl PipeReader {
    fn of(pipe: &Arc<Mutex<Pipe>>) -> Self {
        Self {
            pipe: pipe.clone(),
            arrival: None,
        }
    }
}

impl AsyncRead for PipeReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { pipe, arrival } = &mut *self;
        let mut pipe = locked(pipe);
        loop {
            let Some(due) = pipe.due() else {
                if pipe.closed {
                    return Poll::Ready(Ok(()));
                }
                pipe.reader = Some(context.waker().clone());
                return Poll::Pending;
            };
            if due > Instant::now() {
                let mut sleep = Box::pin(sleep_until(due));
                if sleep.as_mut().poll(context).is_pending() {
                    pipe.reader = Some(context.waker().clone());
                    *arrival = Some(sleep);
                    return Poll::Pending;
                }
                continue;
            }
            *arrival = None;
            let (_, piece) = pipe.queue.front_mut().expect("a piece is due");
            let (bytes, _) = piece.as_slices();
            let length = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..length]);
            let frames = bytes[..length]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            piece.drain(..length);
            if piece.is_empty() {
                pipe.queue.pop_front();
            }
            pipe.bytes -= length;
            pipe.frames.fetch_add(frames as u64, Ordering::Relaxed);
            if let Some(writer) = pipe.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(()));
        }
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut pipe = locked(&self.pipe);
        pipe.reader_gone = true;
        pipe.queue.clear();
        pipe.bytes = 0;
        pipe.wake();
    }
}

struct PipeWriter(Arc<Mutex<Pipe>>);

impl AsyncWrite for PipeWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = locked(&self.0);
        if pipe.reader_gone || pipe.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = CAPACITY.saturating_sub(pipe.bytes);
        if room == 0 {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut length = bytes.len().min(room);
        if length > 1 && pipe.dice.below(16) == 0 {
            let cut = pipe.dice.below(length as u64 - 1);
            length = 1 + usize::try_from(cut).unwrap_or(0);
        }
        // No piece overtakes another one.
        let after = pipe.queue.back().map(|(at, _)| *at);
        let at = (Instant::now() + pipe.delay()).max(after.unwrap_or_else(Instant::now));
        pipe.queue.push_back((at, bytes[..length].to_vec().into()));
        pipe.bytes += length;
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = locked(&self.0);
        pipe.closed = true;
        pipe.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        let mut pipe = locked(&self.0);
        pipe.closed = true;
        pipe.wake();
    }
}
