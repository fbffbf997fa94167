//! The supervisor inside another program: the same server, drivers and stores, on the directories that it is given.
//! Called by the embedding library.
//!
//! It is no daemon: it installs no signal handlers, reads no settings, logs to whatever subscriber the program has, and
//! starts no worker's process. Where a worker would be started, [`Host`] is asked instead.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use agent_team_protocol::MemberName;
use agent_team_protocol::notification::GoodbyeReason;
pub use agent_team_store::Durability;
use agent_team_system::daemon::Announced;
use agent_team_system::directories::{Directories, DirectoriesError};
use agent_team_system::lock::FileLock;
use agent_team_system::private_file;
use tokio::sync::oneshot;

use crate::driver::Notice;
use crate::server::Ending;
use crate::serving::Serving;

/// What runs the workers of hosted members, in this process.
pub trait Host: Send + Sync {
    /// Starts a worker that takes this launch file. Called on the supervisor's thread: it must not wait.
    ///
    /// # Errors
    /// When there can be no worker, such as for want of a thread.
    fn start(&self, member: &MemberName, launch_file: &Path) -> std::io::Result<Hosted>;
}

/// A worker within this process.
#[derive(Debug)]
pub struct Hosted {
    /// When it is used or dropped, the worker is to end at once, where it stands.
    pub end: oneshot::Sender<()>,
    /// Comes to an end, whichever, when nothing of the worker runs in this process any more.
    pub ended: oneshot::Receiver<()>,
}

/// What a supervisor within another program is started with.
#[expect(missing_debug_implementations, reason = "a host need not be shown")]
pub struct Embedding {
    /// Nobody else's: their lock is held as long as it serves.
    pub directories: Directories,
    pub durability: Durability,
    pub host: Arc<dyn Host>,
}

/// Why an embedded supervisor does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Directories(#[from] DirectoriesError),
    #[error("{} is in use by another team, here or in another process", .0.display())]
    InUse(std::path::PathBuf),
    #[error("cannot start a runtime")]
    Runtime(#[source] std::io::Error),
    #[error("cannot use the lock of the supervisor")]
    Lock(#[source] std::io::Error),
    #[error("cannot serve: {0:#}")]
    Start(anyhow::Error),
    /// Nothing that this supervisor acknowledged last can be relied on.
    #[error("what was accepted could not be written to the disk")]
    SyncFailed,
}

/// Serves until `over` comes to an end, whichever. `ready` is told once calls are answered at the directories' socket.
/// Must be called within a `LocalSet`, whose other tasks it must not have to wait for.
///
/// The teams are not brought down: who wants their members to end first calls `team/down`. Members that are still there
/// are told that the supervisor has stopped, and their workers to end at once.
///
/// # Errors
/// When the directories cannot be used or are in use, or when what was accepted cannot be stored.
pub async fn serve(
    embedding: Embedding,
    ready: oneshot::Sender<()>,
    mut over: oneshot::Receiver<()>,
) -> Result<(), ServeError> {
    let Embedding {
        directories,
        durability,
        host,
    } = embedding;
    let directories = Rc::new(directories);
    directories.prepare()?;
    let lock = FileLock::try_acquire(&directories.supervisor_lock());
    let lock = lock.map_err(ServeError::Lock)?;
    let mut lock = lock.ok_or_else(|| ServeError::InUse(directories.state.clone()))?;
    let serving = Serving::start(&lock, &directories, durability, Some(host)).await;
    let mut serving = serving.map_err(ServeError::Start)?;
    let socket = directories.socket();
    // No process: SIGHUP belongs to the program around this.
    let announced = Announced {
        socket: socket.clone(),
        process: None,
    };
    let announced = announced.write(&mut lock, &directories.supervisor_lock());
    announced.map_err(ServeError::Lock)?;
    // Who waits for it may have given up.
    let _given_up = ready.send(());

    let mut look = tokio::time::interval(Serving::LOOK);
    let result = loop {
        tokio::select! {
            _over = &mut over => break Ok(()),
            _ = look.tick() => serving.restore_socket(&lock),
            Some(notice) = serving.notices.recv() => match notice {
                Notice::WentDown => {}
                Notice::SyncFailed => break Err(ServeError::SyncFailed),
            },
            Some(ending) = serving.endings.recv() => match ending {
                Ending::ClientGone => {}
                Ending::Stop | Ending::Restart => break Ok(()),
            },
        }
    };
    serving.server.close(GoodbyeReason::Stopped).await;
    // The listener goes with its task.
    let _panicked = serving.accepting.await;
    if let Err(error) = private_file::discard(&socket) {
        tracing::warn!(%error, "the socket stays behind");
    }
    Announced::withdraw(&mut lock, &directories.supervisor_lock()).map_err(ServeError::Lock)?;
    result
}
