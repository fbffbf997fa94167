//! Where commits happen: on a thread of the store's when they wait for a disk, on the driver's own when that costs less
//! than two hand-overs between threads. Called by the driver; which one it has is its machine's choice.
//!
//! With `durability = "process"` a commit is a write to the page cache, always done by [`Inline`]. With `"power"`
//! [`Threaded`] does it on the driver's thread when nothing else waits for the driver and the disk was quick the last
//! time.

use std::pin::Pin;
use std::time::Duration;

use agent_team_store::{Batch, CommitError, Committed, Store, Writer};
use tokio::sync::mpsc;

/// A sync that the driver may wait for: about what the hand-overs cost on a busy machine.
const QUICK: Duration = Duration::from_millis(1);

pub type Answer = Result<Committed, CommitError>;

/// Stores one batch at a time.
pub trait Committer {
    /// `alone`: nothing else could be done meanwhile.
    fn submit(&mut self, batch: Batch, alone: bool) -> Submitted;

    /// The answer to the batch that is under way; `None` when the store is gone.
    fn answer(&mut self) -> Pin<Box<dyn Future<Output = Option<Answer>> + '_>>;

    /// Is called when the effects of a batch that was answered at once are carried out.
    fn upkeep(&mut self);

    /// Waits until everything is stored.
    fn close(self: Box<Self>);
}

/// What became of a batch that was handed over.
#[derive(Debug)]
pub enum Submitted {
    Answered(Box<Answer>),
    /// Its answer comes; until then no other batch is handed over.
    UnderWay,
}

/// Commits on the driver's thread.
#[derive(Debug)]
pub(crate) struct Inline(pub(crate) Box<Writer>);

impl Committer for Inline {
    fn submit(&mut self, batch: Batch, _alone: bool) -> Submitted {
        Submitted::Answered(Box::new(self.0.commit(batch)))
    }

    fn answer(&mut self) -> Pin<Box<dyn Future<Output = Option<Answer>> + '_>> {
        Box::pin(std::future::ready(None))
    }

    fn upkeep(&mut self) {
        self.0.upkeep();
    }

    fn close(self: Box<Self>) {
        self.0.close();
    }
}

/// Commits on the store's thread, or on the driver's where that is quicker.
#[derive(Debug)]
pub(crate) struct Threaded {
    store: Store,
    answers: mpsc::UnboundedReceiver<Answer>,
    /// What the last commit took.
    took: Duration,
}

impl Threaded {
    pub(crate) fn start(writer: Writer) -> std::io::Result<Self> {
        let (answered, answers) = mpsc::unbounded_channel();
        let sink = Box::new(move |answer| {
            // The driver may be gone.
            let _sent = answered.send(answer);
        });
        Ok(Self {
            store: Store::start(writer, sink)?,
            answers,
            took: Duration::MAX,
        })
    }

    fn note(&mut self, answer: &Answer) {
        self.took = answer
            .as_ref()
            .map_or(Duration::MAX, |committed| committed.took);
    }
}

impl Committer for Threaded {
    fn submit(&mut self, batch: Batch, alone: bool) -> Submitted {
        let batch = if alone && self.took <= QUICK {
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

    fn answer(&mut self) -> Pin<Box<dyn Future<Output = Option<Answer>> + '_>> {
        Box::pin(async {
            let answer = self.answers.recv().await;
            if let Some(answer) = &answer {
                self.note(answer);
            }
            answer
        })
    }

    /// The thread does it between two batches.
    fn upkeep(&mut self) {}

    fn close(self: Box<Self>) {
        self.store.close();
    }
}
