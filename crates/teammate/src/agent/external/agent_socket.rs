//! A Unix socket for the programs of an external agent. One such socket serves the team's tools, another one the hooks.
//!
//! The socket needs no token: only the agent's program and its descendants may connect. The kernel reports the pid of a
//! peer, and its ancestors are read from the process table: a process can forge its environment, but not its ancestors.
//! An orphan of the agent is refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_team_system::process::ProcessId;
use agent_team_system::socket::{Listener, Peer, Stream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// The pause after an error.
const PAUSE: Duration = Duration::from_secs(1);

/// An open socket. Dropping this value closes it.
pub(in crate::agent) struct AgentSocket {
    path: PathBuf,
    accepting: JoinHandle<()>,
}

/// The service of a socket, and the agent that may use it.
pub(super) struct SocketService {
    /// The name of the service, for the log.
    pub(super) name: &'static str,
    /// The agent's process. Only this process and its descendants may connect.
    pub(super) agent: ProcessId,
    /// The largest number of connections; further connections wait.
    pub(super) connections_max: usize,
}

impl AgentSocket {
    /// Serves each connection at this path with the future of `serve`, which is polled only if the peer belongs to the
    /// agent. Must be called within a tokio runtime.
    pub(super) fn open<F: Future<Output = ()> + Send + 'static>(
        listener: Listener,
        path: &Path,
        service: SocketService,
        serve: impl FnMut(Stream) -> F + Send + 'static,
    ) -> Self {
        Self {
            path: path.to_owned(),
            accepting: tokio::spawn(accept(listener, service, serve)),
        }
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        self.accepting.abort();
        // Each launch has its own path, so a file that cannot be removed blocks no later launch.
        let _removed = std::fs::remove_file(&self.path);
    }
}

async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: Listener,
    service: SocketService,
    mut serve: impl FnMut(Stream) -> F,
) {
    let SocketService {
        name,
        agent,
        connections_max,
    } = service;
    let room = Arc::new(Semaphore::new(connections_max));
    loop {
        let Ok(slot) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(name, %error, "cannot accept a connection of the agent");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let peer = stream.peer();
        let served = serve(stream);
        tokio::spawn(async move {
            if is_of(agent, peer).await {
                served.await;
            } else {
                tracing::warn!(name, ?peer, "refused a connection: it is not of the agent");
            }
            drop(slot);
        });
    }
}

/// Whether the peer is the agent or one of its descendants.
async fn is_of(agent: ProcessId, peer: Peer) -> bool {
    let Some(pid) = peer.pid else {
        return false;
    };
    let found = tokio::task::spawn_blocking(move || agent.is_ancestor_of(pid)).await;
    found.is_ok_and(|is_ancestor| is_ancestor.unwrap_or(false))
}
