//! The process of a team's shared MCP servers: `agent-teammate-native --mcp-host`. The supervisor starts it with a
//! listening socket as stdin, and with the read end of a pipe as stdout. Called by the program's `main`.
//!
//! The process exits when the pipe is closed: by the supervisor, or because the supervisor has died. Before its exit,
//! the process kills the servers. A later supervisor starts a new process.

use std::io;
use std::os::fd::AsFd;

use agent_team_system::socket::Listener;
use agent_team_system::spawn;
use agent_team_tools::mcp::host;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::task::LocalSet;

use crate::{RunError, reap};

/// Runs the servers until the supervisor ends this process. Called once, by a process that does nothing else.
///
/// # Errors
/// If the runtime cannot be created, if this process cannot adopt orphaned processes, or if stdin or stdout is unusable.
pub fn host() -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Dropping the tasks of the `LocalSet` kills the servers.
    LocalSet::new().block_on(&runtime, async {
        spawn::become_subreaper()?;
        let listener = Listener::inherited()?;
        let lifeline = io::stdout().as_fd().try_clone_to_owned()?;
        let mut lifeline = pipe::Receiver::from_owned_fd(lifeline)?;
        reap();
        tokio::select! {
            // The supervisor writes nothing: any result of the read means that the pipe is closed.
            _closed = lifeline.read_u8() => {}
            () = host::serve(listener) => {}
        }
        Ok(())
    })
}
