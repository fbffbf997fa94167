//! The supervisor inside another program: the same server, drivers and stores, on given directories. Called by the
//! embedding library.
//!
//! An embedded supervisor installs no signal handlers, reads no settings, logs to the program's subscriber, and starts
//! no worker processes: the program's [`Host`] starts the workers.

use std::rc::Rc;
use std::sync::Arc;

use agent_team_protocol::notification::GoodbyeReason;
pub use agent_team_store::Durability;
use agent_team_system::announcement::Announced;
use agent_team_system::directories::{Directories, DirectoriesError};
use agent_team_system::lock::FileLock;
use agent_team_system::private_file;
use tokio::sync::oneshot;

use crate::driver::Notice;
pub use crate::host::{Host, Hosted};
use crate::server::ShutdownTrigger;
use crate::socket_server::SocketServer;

/// Parameters of an embedded supervisor.
#[expect(
    missing_debug_implementations,
    reason = "the host is a trait object without Debug"
)]
pub struct Embedding {
    /// No other supervisor may use these directories: this supervisor holds their lock while it serves.
    pub directories: Directories,
    pub durability: Durability,
    pub host: Arc<dyn Host>,
}

/// Why an embedded supervisor could not serve, or stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Directories(#[from] DirectoriesError),
    #[error("cannot use {}: it is in use by another team, in this or another process", .0.display())]
    InUse(std::path::PathBuf),
    #[error("cannot start a runtime")]
    Runtime(#[source] std::io::Error),
    #[error("cannot use the supervisor's lock")]
    Lock(#[source] std::io::Error),
    #[error("cannot serve: {0:#}")]
    Start(anyhow::Error),
    /// Recently acknowledged calls may be lost.
    #[error("cannot write accepted calls to the disk")]
    SyncFailed,
}

/// Serves until `stop` completes, with a value or an error, or a client calls `supervisor/stop` or
/// `supervisor/restart`. Signals `ready` once calls are answered at the directories' socket. Must be called directly by
/// the `block_on` of a `LocalSet`: a spawned task would wait for its turn among the connections of that set.
///
/// The teams are not taken down; to end the members first, call `team/down`. Remaining members are notified that the
/// supervisor has stopped, and their workers end at once.
///
/// # Errors
/// When the directories, their lock or their socket cannot be used, when another supervisor uses them, or when accepted
/// calls cannot be stored.
pub async fn serve(
    embedding: Embedding,
    ready: oneshot::Sender<()>,
    mut stop: oneshot::Receiver<()>,
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
    let serving = SocketServer::start(&lock, &directories, durability, Some(host)).await;
    let mut serving = serving.map_err(ServeError::Start)?;
    let socket = directories.socket();
    // Announce no process: a command would send SIGHUP to it, and that signal belongs to the embedding program.
    let announced = Announced {
        socket: socket.clone(),
        process: None,
    };
    let announced = announced.write(&mut lock, &directories.supervisor_lock());
    announced.map_err(ServeError::Lock)?;
    // The send fails if the caller has dropped the receiver.
    let _given_up = ready.send(());

    let mut socket_check = tokio::time::interval(SocketServer::SOCKET_CHECK);
    let result = loop {
        tokio::select! {
            _stopped = &mut stop => break Ok(()),
            _ = socket_check.tick() => serving.restore_socket(&lock),
            Some(notice) = serving.notices.recv() => match notice {
                Notice::WentDown => {}
                Notice::SyncFailed => break Err(ServeError::SyncFailed),
            },
            Some(trigger) = serving.triggers.recv() => match trigger {
                ShutdownTrigger::ClientGone => {}
                ShutdownTrigger::Stop | ShutdownTrigger::Restart => break Ok(()),
            },
        }
    };
    serving.server.close(GoodbyeReason::Stopped).await;
    // Wait for the tokio task that owns the listener: when it has ended, no connection is accepted.
    let _panicked = serving.accepting.await;
    // Remove the socket while this supervisor holds the lock: afterwards, the next supervisor can have bound a socket
    // at the same path.
    if let Err(error) = private_file::discard(&socket) {
        tracing::warn!(%error, "cannot remove the socket");
    }
    Announced::withdraw(&mut lock, &directories.supervisor_lock()).map_err(ServeError::Lock)?;
    result
}
