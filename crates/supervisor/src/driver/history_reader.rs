//! Reads a team's history outside the driver's thread. The number of concurrent readers has a limit, so any number of
//! calls uses a bounded number of threads and descriptors, and a bounded amount of memory.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use agent_team_store::History;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinError;

use crate::machine::Machine;

/// Maximum number of concurrent readers of one team's history.
const READERS_MAX: usize = 4;

/// Reads the history of one team. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct HistoryReader(Rc<Shared>);

struct Shared {
    history: History,
    machine: Rc<dyn Machine>,
    permits: Arc<Semaphore>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shared = f.debug_struct("Shared");
        shared
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}

/// Permission for one read.
#[derive(Debug)]
pub(crate) struct ReadPermit {
    reader: HistoryReader,
    permit: OwnedSemaphorePermit,
}

impl HistoryReader {
    pub(super) fn new(history: History, machine: Rc<dyn Machine>) -> Self {
        Self(Rc::new(Shared {
            history,
            machine,
            permits: Arc::new(Semaphore::new(READERS_MAX)),
        }))
    }

    /// The history, for the few reads that may block the driver's thread.
    pub(super) fn history(&self) -> &History {
        &self.0.history
    }

    /// Waits for a permit. At most [`READERS_MAX`] permits exist at the same time, including permits whose reads have
    /// not begun.
    pub(super) async fn permit(&self) -> ReadPermit {
        let permit = self.0.permits.clone().acquire_owned().await;
        ReadPermit {
            reader: self.clone(),
            permit: permit.expect("the semaphore is never closed"),
        }
    }
}

impl ReadPermit {
    /// Runs `read` on a blocking thread. Returns an error if `read` panics.
    pub(super) async fn read<T: Send + 'static>(
        self,
        read: impl FnOnce(&History) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let Self { reader, permit } = self;
        let Shared {
            history, machine, ..
        } = &*reader.0;
        let history = history.clone();
        let (done, result) = oneshot::channel();
        let work = move || {
            // Hold the permit until the read has ended, even if the caller has dropped the result: the limit counts
            // threads, not callers.
            let _permit = permit;
            let _reader_gone = done.send(read(&history));
        };
        machine.offload(Box::new(work)).await?;
        Ok(result
            .await
            .expect("the work sends its result before it ends"))
    }
}
