//! Interface to an embedding program, which runs the workers of all members in the supervisor's process. Implemented by
//! the embedding library; called by the launchers.

use std::path::Path;

use agent_team_protocol::MemberName;
use tokio::sync::oneshot;

/// Runs the workers of all members in the supervisor's process.
pub trait Host: Send + Sync {
    /// Starts a worker that takes this launch file. Called on the supervisor's thread, so it must not block.
    ///
    /// # Errors
    /// When the worker cannot be started, for example without a free thread.
    fn start(&self, member: &MemberName, launch_file: &Path) -> std::io::Result<Hosted>;
}

/// A worker in the supervisor's process.
#[derive(Debug)]
pub struct Hosted {
    /// Sending a value or dropping this sender ends the worker immediately.
    pub end: oneshot::Sender<()>,
    /// Completes, with a value or an error, once no code of the worker runs any longer.
    pub ended: oneshot::Receiver<()>,
}
