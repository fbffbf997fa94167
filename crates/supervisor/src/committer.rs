//! Runs the commits of a team. Called by the driver, whose `Machine` chooses the implementation.
//!
//! With `durability = "process"` a commit is a write to the page cache, always done by [`Inline`] on the driver's
//! thread. With `"power"` a commit waits for the disk: [`Threaded`] runs it on the store's thread, so that connections
//! and other teams, which share the driver's thread, continue. When no other input waits and the last sync was fast,
//! `Threaded` commits on the driver's thread: two hand-overs between threads would cost more than the sync.

use std::pin::Pin;
use std::time::Duration;

use agent_team_store::{Batch, CommitError, Committed, Store, Writer};
use tokio::sync::mpsc;

/// A sync of at most this duration may block the driver's thread. On a busy machine, it takes about as long to hand the
/// batch to the store's thread and the result back.
const FAST_SYNC: Duration = Duration::from_millis(1);

pub type CommitResult = Result<Committed, CommitError>;

/// Stores one batch at a time.
pub trait Committer {
    /// Submits a batch. `is_idle`: no other input waits for the driver.
    fn submit(&mut self, batch: Batch, is_idle: bool) -> Submitted;

    /// The result of the batch in progress; `None` when the store has stopped.
    fn answer(&mut self) -> Pin<Box<dyn Future<Output = Option<CommitResult>> + '_>>;

    /// Does the store's maintenance. Called after the effects of a batch that [`Self::submit`] answered at once.
    fn upkeep(&mut self);

    /// Waits until everything is stored.
    fn close(self: Box<Self>);
}

/// The state of a submitted batch.
#[derive(Debug)]
pub enum Submitted {
    Answered(Box<CommitResult>),
    /// The result follows; no other batch may be submitted before it.
    UnderWay,
}

/// Commits on the driver's thread.
#[derive(Debug)]
pub(crate) struct Inline(pub(crate) Box<Writer>);

impl Committer for Inline {
    fn submit(&mut self, batch: Batch, _is_idle: bool) -> Submitted {
        Submitted::Answered(Box::new(self.0.commit(batch)))
    }

    fn answer(&mut self) -> Pin<Box<dyn Future<Output = Option<CommitResult>> + '_>> {
        Box::pin(std::future::ready(None))
    }

    fn upkeep(&mut self) {
        self.0.upkeep();
    }

    fn close(self: Box<Self>) {
        self.0.close();
    }
}

/// Commits on the store's thread, or on the driver's thread if that is faster.
#[derive(Debug)]
pub(crate) struct Threaded {
    store: Store,
    answers: mpsc::UnboundedReceiver<CommitResult>,
    /// Duration of the last commit. `Duration::MAX` before the first commit and after a failed commit.
    took: Duration,
}

impl Threaded {
    pub(crate) fn start(writer: Writer) -> std::io::Result<Self> {
        let (answered, answers) = mpsc::unbounded_channel();
        let sink = Box::new(move |answer| {
            // The driver may have stopped.
            let _sent = answered.send(answer);
        });
        Ok(Self {
            store: Store::start(writer, sink)?,
            answers,
            took: Duration::MAX,
        })
    }

    fn note(&mut self, answer: &CommitResult) {
        self.took = answer
            .as_ref()
            .map_or(Duration::MAX, |committed| committed.took);
    }
}

impl Committer for Threaded {
    fn submit(&mut self, batch: Batch, is_idle: bool) -> Submitted {
        let batch = if is_idle && self.took <= FAST_SYNC {
            match self.store.commit_here(batch) {
                Ok(answer) => {
                    self.note(&answer);
                    return Submitted::Answered(Box::new(answer));
                }
                Err(batch) => batch,
            }
        } else {
            batch
        };
        self.store.submit(batch);
        Submitted::UnderWay
    }

    fn answer(&mut self) -> Pin<Box<dyn Future<Output = Option<CommitResult>> + '_>> {
        Box::pin(async {
            let answer = self.answers.recv().await;
            if let Some(answer) = &answer {
                self.note(answer);
            }
            answer
        })
    }

    /// Does nothing: the store's thread does the maintenance between two batches.
    fn upkeep(&mut self) {}

    fn close(self: Box<Self>) {
        self.store.close();
    }
}
