//! A supervisor that serves at a socket: what the daemon and the supervisor within another program have in common.
//!
//! Called by `boot` and `embed`, which hold the lock and decide when it ends. A removed socket is bound again when they
//! ask: the daemon after SIGHUP, which a command sends that finds the lock held and no socket; the embedded supervisor,
//! which owns no signals, every [`Serving::LOOK`].

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use agent_team_store::Durability;
use agent_team_system::clock;
use agent_team_system::daemon::BoundSocket;
use agent_team_system::directories::Directories;
use agent_team_system::lock::FileLock;
use agent_team_system::socket::Listener;
use anyhow::Context;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::driver::Notice;
use crate::embed::Host;
use crate::machine::{Machine, ThisMachine};
use crate::server::{Ending, Server};
use crate::teams::Teams;

pub(crate) struct Serving {
    pub(crate) server: Rc<Server>,
    pub(crate) notices: mpsc::UnboundedReceiver<Notice>,
    pub(crate) endings: mpsc::UnboundedReceiver<Ending>,
    socket: PathBuf,
    bound: Option<BoundSocket>,
    pub(crate) accepting: JoinHandle<()>,
}

impl Serving {
    /// How often a supervisor without signals looks for its socket.
    pub(crate) const LOOK: Duration = Duration::from_secs(1);

    /// Binds the socket, opens the teams that were up, and accepts. With a host, members run within this process, and no
    /// team outlives it.
    pub(crate) async fn start(
        lock: &FileLock,
        directories: &Rc<Directories>,
        durability: Durability,
        host: Option<Arc<dyn Host>>,
    ) -> anyhow::Result<Serving> {
        let socket = directories.socket();
        let listener = Listener::bind_replacing_stale(lock, &socket)
            .with_context(|| format!("cannot listen at {}", socket.display()))?;
        let boot = clock::boot_id().context("cannot tell which boot of the machine this is")?;
        let machine: Rc<dyn Machine> = Rc::new(ThisMachine);
        let (notify, notices) = mpsc::unbounded_channel();
        let (ending, endings) = mpsc::unbounded_channel();
        let teams = Teams::new(
            machine.clone(),
            directories.clone(),
            boot.into(),
            durability,
            notify,
        );
        teams.unlocked().await;
        let teams = match host {
            Some(host) => teams.hosted_by(host),
            None => {
                teams.restore();
                teams
            }
        };
        let server = Rc::new(Server::new(machine, teams, directories.clone(), ending));
        Ok(Serving {
            accepting: tokio::task::spawn_local(server.clone().accept(listener)),
            bound: BoundSocket::at(&socket),
            server,
            notices,
            endings,
            socket,
        })
    }

    /// Binds the socket again, in directories that are made again, if it is not the one that was bound.
    pub(crate) fn restore_socket(&mut self, lock: &FileLock) {
        let now = BoundSocket::at(&self.socket);
        if now.is_some() && now == self.bound {
            return;
        }
        let directories = self.server.directories.prepare();
        let bound = directories
            .context("cannot make its directory")
            .and_then(|()| Ok(Listener::bind_replacing_stale(lock, &self.socket)?));
        let socket = self.socket.display();
        match bound {
            Ok(listener) => {
                tracing::warn!(%socket, "the socket was removed: bound again");
                // Accepted connections stay open.
                self.accepting.abort();
                self.accepting = tokio::task::spawn_local(self.server.clone().accept(listener));
                self.bound = BoundSocket::at(&self.socket);
            }
            Err(error) => {
                tracing::error!(%socket, error = format!("{error:#}"), "cannot bind the socket again");
            }
        }
    }
}
