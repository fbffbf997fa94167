//! A supervisor without socket, lock and signals: the same server, drivers and stores, on a [`Machine`] and connections
//! that the caller provides. Called by the simulation of the `tests` package.
//!
//! All of its work runs in tokio tasks of the `LocalSet` in which it was started. Dropping that `LocalSet` at any
//! moment is equivalent to `kill -9` of the process.

use std::fmt;
use std::rc::Rc;

use agent_team_protocol::notification::GoodbyeReason;
use agent_team_store::Durability;
use agent_team_system::connection::{FrameReader, FrameWriter};
use agent_team_system::directories::{Directories, DirectoriesError};
use agent_team_system::socket::Peer;
use tokio::sync::mpsc;

use crate::machine::Machine;
use crate::server::Server;
use crate::teams::Teams;

/// Handle of an in-memory supervisor. Clones share the supervisor.
#[derive(Clone)]
pub struct InMemorySupervisor {
    server: Rc<Server>,
}

impl fmt::Debug for InMemorySupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemorySupervisor").finish_non_exhaustive()
    }
}

impl InMemorySupervisor {
    /// Starts the supervisor and restores the teams that were up. Must be called within a `LocalSet`.
    ///
    /// # Errors
    /// When the directories cannot be used.
    pub fn start(
        machine: Rc<dyn Machine>,
        directories: Directories,
        durability: Durability,
        boot: &str,
    ) -> Result<Self, DirectoriesError> {
        let directories = Rc::new(directories);
        directories.prepare()?;
        // The receivers are dropped: the caller decides when this supervisor ends.
        let (notices, _) = mpsc::unbounded_channel();
        let (trigger, _) = mpsc::unbounded_channel();
        let boot = boot.into();
        let teams = Teams::new(
            machine.clone(),
            directories.clone(),
            boot,
            durability,
            notices,
        );
        teams.restore();
        let server = Rc::new(Server::new(machine, teams, directories, trigger));
        Ok(Self { server })
    }

    /// Serves one connection until it ends.
    pub async fn serve(self, reader: FrameReader, writer: FrameWriter, peer: Peer) {
        self.server.serve(reader, writer, peer).await;
    }

    /// Closes every team and every connection in an orderly way.
    pub async fn close(&self, goodbye: GoodbyeReason) {
        self.server.close(goodbye).await;
    }
}
