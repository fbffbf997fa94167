//! Where commits happen: on a thread of the store's when they wait for a disk, on the driver's own when that costs less
//! than two hand-overs between threads.
//!
//! With `durability = "process"` a commit is a write to the page cache, always done here. With `"power"` it is done
//! here when nothing else waits for the driver and the disk was quick the last time.

use std::time::Duration;

use agent_team_store::{Batch, CommitError, Committed, Durability, Store, Writer};
use tokio::sync::mpsc;

/// A sync that the driver may wait for: about what the hand-overs cost on a busy machine.
const QUICK: Duration = Duration::from_millis(1);

type Answer = Result<Committed, CommitError>;

#[derive(Debug)]
pub(super) enum Committer {
    Inline(Box<Writer>),
    Thread {
        store: Store,
        answers: mpsc::UnboundedReceiver<Answer>,
        /// What the last commit took.
        took: Duration,
    },
}

/// What became of a batch that was handed over.
pub(super) enum Submitted {
    Answered(Answer),
    /// Its answer comes; until then no other batch is handed over.
    UnderWay,
}

impl Committer {
    pub(super) fn new(writer: Writer, durability: Durability) -> std::io::Result<Self> {
        match durability {
            Durability::Process => Ok(Self::Inline(Box::new(writer))),
            Durability::Power => {
                let (told, answers) = mpsc::unbounded_channel();
                let sink = Box::new(move |answer| {
                    // A driver that is gone has nobody to tell.
                    let _sent = told.send(answer);
                });
                Ok(Self::Thread {
                    store: Store::start(writer, sink)?,
                    answers,
                    took: Duration::MAX,
                })
            }
        }
    }

    /// `alone`: nothing else could be done meanwhile.
    pub(super) fn submit(&mut self, batch: Batch, alone: bool) -> Submitted {
        match self {
            Self::Inline(writer) => Submitted::Answered(writer.commit(batch)),
            Self::Thread { store, took, .. } => {
                let batch = if alone && *took <= QUICK {
                    match store.commit_here(batch) {
                        Ok(answer) => {
                            note(took, &answer);
                            return Submitted::Answered(answer);
                        }
                        Err(batch) => batch,
                    }
                } else {
                    batch
                };
                store.submit(batch);
                Submitted::UnderWay
            }
        }
    }

    /// The answer to the batch that is under way; `None` when the store is gone.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        match self {
            Self::Inline(_) => None,
            Self::Thread { answers, took, .. } => {
                let answer = answers.recv().await;
                if let Some(answer) = &answer {
                    note(took, answer);
                }
                answer
            }
        }
    }

    /// To be called when an answered batch was acted on.
    pub(super) fn upkeep(&mut self) {
        match self {
            Self::Inline(writer) => writer.upkeep(),
            // The thread does it between two batches.
            Self::Thread { .. } => {}
        }
    }

    /// Waits until everything is stored.
    pub(super) fn close(self) {
        match self {
            Self::Inline(writer) => writer.close(),
            Self::Thread { store, .. } => store.close(),
        }
    }
}

fn note(took: &mut Duration, answer: &Answer) {
    *took = answer
        .as_ref()
        .map_or(Duration::MAX, |committed| committed.took);
}
