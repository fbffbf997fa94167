//! The sending side of one connection: a bounded queue, and the tokio task that writes its frames. Called by the server
//! and the drivers.
//!
//! Senders never wait for a peer that does not read. When the peer's queue is full, the next frame is refused, and the
//! sender decides: a subscriber is disconnected, a reader of history pauses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use agent_team_protocol::notification::{Goodbye, Notification};
use agent_team_protocol::{ErrorCode, Refusal, rpc};
use agent_team_system::connection::FrameWriter;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::failpoints::{self, Failpoint};

/// Bytes queued for one peer at which further frames are refused. The last accepted frame may exceed the limit.
const QUEUED_MAX: usize = 1 << 20;

/// Maximum frames queued for one peer.
const FRAMES_MAX: usize = 4_096;

/// Unanswered calls of one peer at which no further frame of the peer is read.
const CALLS_MAX: usize = 256;

/// Maximum calls of one peer that wait for a condition.
const WAITING_MAX: usize = 64;

/// The peer's queue is full.
#[derive(Debug)]
pub(crate) struct QueueFull;

/// The sending side of one connection. Cheap to clone. Sending to a closed connection does nothing.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    lines: mpsc::UnboundedSender<Arc<str>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicUsize,
    frames: AtomicUsize,
    /// Number of unanswered calls, without calls that wait for a condition.
    calls: AtomicUsize,
    waiting: AtomicUsize,
    /// Notified when frames were written, when the number of calls falls below its maximum or to 0, and when the
    /// connection must close.
    changed: Notify,
    closed: AtomicBool,
}

impl Outbox {
    /// Starts the tokio task that writes to `writer` until the outbox is closed or the peer has disconnected.
    pub(crate) fn start(writer: FrameWriter) -> Self {
        let (lines, queued) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        tokio::task::spawn_local(write(writer, queued, shared.clone()));
        Self { lines, shared }
    }

    /// An outbox without a connection: the test receives the queued frames.
    #[cfg(test)]
    pub(crate) fn unconnected() -> (Self, mpsc::UnboundedReceiver<Arc<str>>) {
        let (lines, queued) = mpsc::unbounded_channel();
        let shared = Arc::default();
        (Self { lines, shared }, queued)
    }

    /// Queues one frame, newline included.
    pub(crate) fn send(&self, line: impl Into<Arc<str>>) -> Result<(), QueueFull> {
        if self.has_room() || self.is_closed() {
            self.queue(line.into());
            Ok(())
        } else {
            Err(QueueFull)
        }
    }

    /// Sends a goodbye with the reason, and closes the connection.
    pub(crate) fn send_goodbye(&self, goodbye: &Goodbye) {
        self.queue(rpc::notification(goodbye).into());
        self.close();
    }

    fn queue(&self, line: Arc<str>) {
        self.shared.bytes.fetch_add(line.len(), Ordering::Relaxed);
        self.shared.frames.fetch_add(1, Ordering::Relaxed);
        // Sending to a closed connection is not an error: unread messages and pending state are sent again over the
        // next connection.
        let _closed = self.lines.send(line);
    }

    /// Queues the answer to a call. A peer that makes calls without reading the answers is disconnected.
    pub(crate) fn answer(&self, line: String) {
        if self.send(line).is_err() {
            tracing::warn!("a peer does not read the answers to its calls: closing its connection");
            self.close();
        }
    }

    pub(crate) fn notify<N: Notification>(&self, notification: &N) -> Result<(), QueueFull> {
        self.send(rpc::notification(notification))
    }

    /// Waits until there is room, or the connection is closed.
    pub(crate) async fn room(&self) {
        self.until(Self::has_room).await;
    }

    /// Waits until the peer may make another call, or the connection is closed. While a peer does not read its answers
    /// or has too many unanswered calls, its frames are not read: the socket's buffer fills and the peer blocks.
    pub(crate) async fn room_for_call(&self) {
        self.until(|outbox| outbox.has_room() && outbox.calls() < CALLS_MAX)
            .await;
    }

    /// Waits until the calls of the peer are answered, except calls that wait for a condition, or until the connection
    /// is closed.
    pub(crate) async fn calls_answered(&self) {
        self.until(|outbox| outbox.calls() == 0).await;
    }

    async fn until(&self, is_reached: impl Fn(&Self) -> bool) {
        loop {
            // Created before the check: `notify_waiters` wakes only `Notified` futures that exist already.
            let changed = self.shared.changed.notified();
            if self.is_closed() || is_reached(self) {
                return;
            }
            changed.await;
        }
    }

    fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::Relaxed)
    }

    /// Closes the connection after writing the queued frames, or after a timeout when the peer does not read.
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.shared.changed.notify_waiters();
        self.shared.changed.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Relaxed) || self.lines.is_closed()
    }

    /// Waits until a closed connection has written its queue or has given up.
    pub(crate) async fn flushed(&self) {
        self.lines.closed().await;
    }

    /// Waits until the connection must close.
    pub(crate) async fn closed(&self) {
        loop {
            let changed = self.shared.changed.notified();
            if self.is_closed() {
                return;
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = self.lines.closed() => {}
            }
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.holds_less_than(QUEUED_MAX, FRAMES_MAX)
    }

    pub(crate) fn is_half_empty(&self) -> bool {
        self.holds_less_than(QUEUED_MAX / 2, FRAMES_MAX / 2)
    }

    fn holds_less_than(&self, bytes: usize, frames: usize) -> bool {
        self.shared.bytes.load(Ordering::Relaxed) < bytes
            && self.shared.frames.load(Ordering::Relaxed) < frames
    }
}

async fn write(
    mut writer: FrameWriter,
    mut queued: mpsc::UnboundedReceiver<Arc<str>>,
    shared: Arc<Shared>,
) {
    /// How long a closing connection waits for the peer to read the queued frames.
    const FLUSH_LIMIT: std::time::Duration = std::time::Duration::from_millis(200);

    loop {
        let first = tokio::select! {
            biased;
            line = queued.recv() => line,
            () = shared.closed() => None,
        };
        let Some(first) = first else { break };
        let (mut bytes, mut frames) = (first.len(), 1);
        writer.queue(&first);
        while bytes < QUEUED_MAX
            && let Ok(line) = queued.try_recv()
        {
            bytes += line.len();
            frames += 1;
            writer.queue(&line);
        }
        let flushed = tokio::select! {
            biased;
            flushed = writer.flush() => flushed.is_ok(),
            () = shared.closed() => {
                let rest = tokio::time::timeout(FLUSH_LIMIT, writer.flush()).await;
                rest.is_ok_and(|flushed| flushed.is_ok())
            }
        };
        // Frames count until they are written, not until they leave the channel: otherwise the writer's buffer would
        // hold the frames of a peer that does not read in addition to a full queue.
        shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        shared.frames.fetch_sub(frames, Ordering::Relaxed);
        if !flushed {
            break;
        }
        failpoints::pass(Failpoint::Replied);
        shared.changed.notify_waiters();
    }
    shared.closed.store(true, Ordering::Relaxed);
    shared.changed.notify_waiters();
}

/// The reply of one pending call.
#[derive(Debug)]
pub(crate) struct Reply {
    outbox: Outbox,
    to: ReplyTarget,
}

#[derive(Debug)]
enum ReplyTarget {
    /// A call of the peer over the socket, with its request id.
    Peer(Box<RawValue>, CallCount),
    /// A call that the server makes on behalf of a peer.
    Internal(oneshot::Sender<Result<String, Refusal>>),
}

/// Counts a call of a peer until it is answered or dropped.
#[derive(Debug)]
struct CallCount {
    shared: Arc<Shared>,
    waits: bool,
}

impl CallCount {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.calls.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: shared.clone(),
            waits: false,
        }
    }

    /// Counts the call as waiting. Returns false when the peer already has the maximum of waiting calls.
    fn wait(&mut self) -> bool {
        if self.waits {
            return true;
        }
        if self.shared.waiting.load(Ordering::Relaxed) >= WAITING_MAX {
            return false;
        }
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        self.waits = true;
        self.shared.answered();
        true
    }
}

impl Drop for CallCount {
    fn drop(&mut self) {
        if self.waits {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        } else {
            self.shared.answered();
        }
    }
}

impl Shared {
    /// Waits until the outbox is closed. Only the tokio task that writes calls this: [`Outbox::close`] leaves a permit
    /// for one waiter.
    async fn closed(&self) {
        while !self.closed.load(Ordering::Relaxed) {
            self.changed.notified().await;
        }
    }

    /// Removes one call from the count of unanswered calls.
    fn answered(&self) {
        let calls = self.calls.fetch_sub(1, Ordering::Relaxed);
        if calls == CALLS_MAX || calls == 1 {
            self.changed.notify_waiters();
        }
    }
}

impl Reply {
    pub(crate) fn new(outbox: &Outbox, id: &RawValue) -> Self {
        Self {
            outbox: outbox.clone(),
            to: ReplyTarget::Peer(id.to_owned(), CallCount::new(&outbox.shared)),
        }
    }

    /// Converts this into the reply of a call that waits for a condition, possibly forever. `None` if the peer already
    /// has the maximum of waiting calls: this call was then refused.
    pub(crate) fn waiting(mut self) -> Option<Self> {
        if let ReplyTarget::Peer(_, count) = &mut self.to
            && !count.wait()
        {
            let text = format!("this connection already has {WAITING_MAX} waiting calls");
            let refusal = Refusal::new(ErrorCode::TooManyCalls, text);
            self.refuse(
                refusal.hint("open another connection, or make fewer waiting calls at once"),
            );
            return None;
        }
        Some(self)
    }

    /// Whether the caller can no longer receive the reply.
    pub(crate) fn is_abandoned(&self) -> bool {
        match &self.to {
            ReplyTarget::Peer(..) => self.outbox.is_closed(),
            ReplyTarget::Internal(to) => to.is_closed(),
        }
    }

    /// The reply of a call that the server makes on behalf of a peer. The receiver gets the answer as JSON.
    pub(crate) fn internal(outbox: &Outbox) -> (Self, oneshot::Receiver<Result<String, Refusal>>) {
        let (to, answer) = oneshot::channel();
        (
            Self {
                outbox: outbox.clone(),
                to: ReplyTarget::Internal(to),
            },
            answer,
        )
    }

    pub(crate) fn ok(self, answer: &impl Serialize) {
        match self.to {
            ReplyTarget::Peer(id, _count) => self.outbox.answer(rpc::result(&id, answer)),
            ReplyTarget::Internal(to) => {
                let answer = serde_json::to_string(answer)
                    .map_err(|error| Refusal::internal(error.to_string()));
                let _asker_gone = to.send(answer);
            }
        }
    }

    pub(crate) fn send(self, outcome: Result<impl Serialize, Refusal>) {
        match outcome {
            Ok(answer) => self.ok(&answer),
            Err(refusal) => self.refuse(refusal),
        }
    }

    pub(crate) fn refuse(self, refusal: Refusal) {
        match self.to {
            ReplyTarget::Peer(id, _count) => self.outbox.answer(rpc::error(&id, refusal)),
            ReplyTarget::Internal(to) => {
                let _asker_gone = to.send(Err(refusal));
            }
        }
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::codec::FRAME_MAX;
    use agent_team_protocol::notification::GoodbyeReason;
    use agent_team_system::connection::FrameReader;
    use agent_team_system::socket::Stream;

    use super::*;

    fn run<F: Future>(test: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test)
    }

    fn connected() -> (Outbox, FrameReader) {
        let (ours, theirs) = Stream::pair().unwrap();
        let (_, write) = ours.into_halves();
        let (read, _) = theirs.into_halves();
        (
            Outbox::start(FrameWriter::new(write)),
            FrameReader::new(read, FRAME_MAX),
        )
    }

    #[test]
    fn frames_arrive_in_order() {
        run(async {
            let (outbox, mut peer) = connected();
            for n in 0..100 {
                outbox.send(format!("{n}\n")).unwrap();
            }
            for n in 0..100 {
                assert_eq!(peer.next().await.unwrap(), Some(n.to_string()));
            }
        });
    }

    #[test]
    fn a_peer_that_does_not_read_has_a_bounded_queue() {
        run(async {
            let (outbox, mut peer) = connected();
            let line: Arc<str> = format!("{}\n", "x".repeat(1_000)).into();
            let mut sent = 0;
            while outbox.send(line.clone()).is_ok() {
                sent += 1;
                tokio::task::yield_now().await;
                assert!(sent < 10_000, "the queue is unbounded");
            }
            assert!(sent >= QUEUED_MAX / line.len());
            peer.next().await.unwrap();
            while !outbox.has_room() {
                peer.next().await.unwrap();
            }
            assert!(outbox.send(line).is_ok());
        });
    }

    #[test]
    fn a_goodbye_is_written_before_the_connection_closes() {
        run(async {
            let (outbox, mut peer) = connected();
            outbox.send("first\n").unwrap();
            outbox.send_goodbye(&Goodbye {
                reason: GoodbyeReason::Stopped,
                error: None,
            });
            outbox.flushed().await;
            assert_eq!(peer.next().await.unwrap().as_deref(), Some("first"));
            assert!(peer.next().await.unwrap().unwrap().contains("goodbye"));
            assert_eq!(peer.next().await.unwrap(), None);
        });
    }

    #[test]
    fn close_has_a_time_limit_if_the_peer_does_not_read() {
        run(async {
            let (outbox, _peer) = connected();
            while outbox.send("y".repeat(10_000) + "\n").is_ok() {
                tokio::task::yield_now().await;
            }
            outbox.close();
            outbox.flushed().await;
        });
    }
}
