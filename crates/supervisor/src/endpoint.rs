//! The socket of a supervisor that runs: accepting at it, and binding it again after its file was removed.
//!
//! Called by `boot`. A command that finds the lock held and no socket sends SIGHUP, and so does a starter that finds this
//! process without its lock file. The socket's file is looked at then only: nothing here wakes by itself.

use std::path::PathBuf;
use std::rc::Rc;

use agent_team_system::daemon::BoundSocket;
use agent_team_system::lock::FileLock;
use agent_team_system::socket::Listener;
use anyhow::Context;
use tokio::task::JoinHandle;

use crate::server::Server;

#[derive(Debug)]
pub(crate) struct Endpoint {
    path: PathBuf,
    bound: Option<BoundSocket>,
    accepting: JoinHandle<()>,
}

impl Endpoint {
    /// Accepts at the server's socket, which this listener has bound.
    pub(crate) fn serve(listener: Listener, server: &Rc<Server>) -> Self {
        let path = server.directories.socket();
        Self {
            bound: BoundSocket::at(&path),
            path,
            accepting: tokio::task::spawn_local(server.clone().accept(listener)),
        }
    }

    /// Binds the socket again, in directories that are made again, if it is not the one that was bound.
    pub(crate) fn restore(&mut self, lock: &FileLock, server: &Rc<Server>) {
        let now = BoundSocket::at(&self.path);
        if now.is_some() && now == self.bound {
            return;
        }
        let bound = server
            .directories
            .prepare()
            .context("cannot make its directory")
            .and_then(|()| Ok(Listener::bind_replacing_stale(lock, &self.path)?));
        match bound {
            Ok(listener) => {
                tracing::warn!(socket = %self.path.display(), "the socket was removed: bound again");
                // Accepted connections stay open.
                self.accepting.abort();
                *self = Self::serve(listener, server);
            }
            Err(error) => {
                tracing::error!(socket = %self.path.display(), error = format!("{error:#}"), "cannot bind the socket again");
            }
        }
    }
}
