//! A supervisor that listens at a socket: the common part of the daemon and the embedded supervisor.
//!
//! Called by `boot` and `embed`, which hold the lock and decide when to stop. They also decide when to check for a
//! removed socket. The daemon checks on SIGHUP, which a command sends when the lock is held but no socket exists. The
//! embedded supervisor handles no signals; it checks at the interval [`SocketServer::SOCKET_CHECK`].

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use agent_team_store::Durability;
use agent_team_system::announcement::BoundSocket;
use agent_team_system::clock;
use agent_team_system::directories::Directories;
use agent_team_system::lock::FileLock;
use agent_team_system::socket::Listener;
use anyhow::Context;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::driver::Notice;
use crate::host::Host;
use crate::machine::{Machine, ThisMachine};
use crate::server::{Server, ShutdownTrigger};
use crate::teams::Teams;

pub(crate) struct SocketServer {
    pub(crate) server: Rc<Server>,
    pub(crate) notices: mpsc::UnboundedReceiver<Notice>,
    pub(crate) triggers: mpsc::UnboundedReceiver<ShutdownTrigger>,
    socket: PathBuf,
    bound: Option<BoundSocket>,
    pub(crate) accepting: JoinHandle<()>,
}

impl SocketServer {
    /// How often a supervisor without signals checks its socket.
    pub(crate) const SOCKET_CHECK: Duration = Duration::from_secs(1);

    /// Binds the socket, opens the teams that were up, and accepts connections. With a `host`, members run inside the
    /// supervisor's process. No team then survives the process, so no team is restored.
    pub(crate) async fn start(
        lock: &FileLock,
        directories: &Rc<Directories>,
        durability: Durability,
        host: Option<Arc<dyn Host>>,
    ) -> anyhow::Result<SocketServer> {
        let socket = directories.socket();
        let listener = Listener::bind_replacing_stale(lock, &socket)
            .with_context(|| format!("cannot listen at {}", socket.display()))?;
        let boot = clock::boot_id().context("cannot read the boot id")?;
        let machine: Rc<dyn Machine> = Rc::new(ThisMachine);
        let (notify, notices) = mpsc::unbounded_channel();
        let (trigger, triggers) = mpsc::unbounded_channel();
        let teams = Teams::new(
            machine.clone(),
            directories.clone(),
            boot.into(),
            durability,
            notify,
        );
        teams.wait_unlocked().await;
        let teams = match host {
            Some(host) => teams.hosted_by(host),
            None => {
                teams.restore();
                teams
            }
        };
        let server = Rc::new(Server::new(machine, teams, directories.clone(), trigger));
        Ok(SocketServer {
            accepting: tokio::task::spawn_local(server.clone().accept(listener)),
            bound: BoundSocket::at(&socket),
            server,
            notices,
            triggers,
            socket,
        })
    }

    /// Binds the socket again if the bound socket was removed or replaced. Creates missing directories first.
    pub(crate) fn restore_socket(&mut self, lock: &FileLock) {
        let now = BoundSocket::at(&self.socket);
        if now.is_some() && now == self.bound {
            return;
        }
        let directories = self.server.directories.prepare();
        let bound = directories
            .context("cannot create its directory")
            .and_then(|()| Ok(Listener::bind_replacing_stale(lock, &self.socket)?));
        let socket = self.socket.display();
        match bound {
            Ok(listener) => {
                tracing::warn!(%socket, "bound the socket again: it was removed or replaced");
                // Aborting the accept loop leaves accepted connections open: each has its own tokio task.
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
