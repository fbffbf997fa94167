//! Reading a team's history off the driver, a few readers at a time: threads, memory and descriptors stay bounded however
//! many calls there are.

use std::rc::Rc;
use std::sync::Arc;

use agent_team_store::History;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;

/// Readers of one team's history at a time.
const READERS_MAX: usize = 4;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Reader(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    history: History,
    turns: Arc<Semaphore>,
}

/// The right to read once.
#[derive(Debug)]
pub(super) struct ReadTurn {
    history: History,
    permit: OwnedSemaphorePermit,
}

impl Reader {
    pub(super) fn new(history: History) -> Self {
        Self(Rc::new(Shared {
            history,
            turns: Arc::new(Semaphore::new(READERS_MAX)),
        }))
    }

    /// For the driver itself, which waits for the disk then.
    pub(super) fn history(&self) -> &History {
        &self.0.history
    }

    /// Waits until fewer than [`READERS_MAX`] read.
    pub(super) async fn turn(&self) -> ReadTurn {
        let permit = self.0.turns.clone().acquire_owned().await;
        ReadTurn {
            history: self.0.history.clone(),
            permit: permit.expect("the semaphore is never closed"),
        }
    }
}

impl ReadTurn {
    /// Reads on a thread that may block. An error is a panic of `read`.
    pub(super) async fn read<T: Send + 'static>(
        self,
        read: impl FnOnce(&History) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let Self { history, permit } = self;
        tokio::task::spawn_blocking(move || {
            // Held to the end, also when the caller dropped the result.
            let _permit = permit;
            read(&history)
        })
        .await
    }
}
