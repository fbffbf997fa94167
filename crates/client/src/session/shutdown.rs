//! Waits for the supervisor's exit and reports it as receipts. The supervisor exits when all teams are down and no
//! client is connected, or when the user stops it.

use std::time::Duration;

use agent_team_protocol::method::{DownAnswer, Nothing, SupervisorStatus, SupervisorStop};
use agent_team_protocol::view::{
    MemberState, Receipt, ReceiptKind, ReceiptOutcome, SupervisorView,
};
use agent_team_system::announcement::BoundSocket;
use agent_team_system::process::{ExitWatch, ProcessId};

use super::Session;
use super::error::SessionError;

/// How long an idle supervisor may take to exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

impl Session {
    /// Closes the connection and waits for the supervisor's exit; returns the receipts of its process and socket. Does
    /// not wait in two cases. If a member of any team is not stopped, returns no receipts. If other clients are
    /// connected, returns receipts of a process and a socket that are kept.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn release_supervisor(mut self) -> Result<Vec<Receipt>, SessionError> {
        let (status, supervisor) = self.status_and_process().await?;
        let socket = BoundSocket::at(&status.socket);
        let members = status.teams.iter().flat_map(|team| &team.members);
        if members
            .into_iter()
            .any(|member| member.state != MemberState::Stopped)
        {
            return Ok(Vec::new());
        }
        drop(self);
        // Other clients are connected: the supervisor exits after the last client has disconnected.
        if supervisor.is_some() && status.connections > 1 {
            return Ok(receipts(
                &status,
                ReceiptOutcome::Kept,
                ReceiptOutcome::Kept,
            ));
        }
        Ok(await_exit(&status, supervisor, socket).await)
    }

    /// Stops the supervisor and all teams; returns the receipts.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn stop_supervisor(mut self) -> Result<DownAnswer, SessionError> {
        let (status, supervisor) = self.status_and_process().await?;
        let socket = BoundSocket::at(&status.socket);
        let mut answer = self.call::<SupervisorStop>(Nothing {}).await?;
        drop(self);
        answer
            .receipts
            .extend(await_exit(&status, supervisor, socket).await);
        Ok(answer)
    }

    /// The supervisor's status and process identity. Must be read while the supervisor runs: after the exit, the kernel
    /// may give the pid to another process.
    async fn status_and_process(
        &mut self,
    ) -> Result<(SupervisorView, Option<ProcessId>), SessionError> {
        let status = self.query::<SupervisorStatus>(Nothing {}).await?;
        let process = ProcessId::of(status.pid).ok().flatten();
        Ok((status, process))
    }
}

/// Waits for the supervisor's exit. `socket` was read while the supervisor ran: a new supervisor, started by another
/// command meanwhile, may have a socket at the same path.
async fn await_exit(
    status: &SupervisorView,
    supervisor: Option<ProcessId>,
    socket: Option<BoundSocket>,
) -> Vec<Receipt> {
    let exited = match supervisor {
        None => true,
        Some(process) => has_ended(process).await,
    };
    let is_there = socket.is_some() && BoundSocket::at(&status.socket) == socket;
    let (process, socket) = match (exited, is_there) {
        (true, false) => (ReceiptOutcome::Ended, ReceiptOutcome::Removed),
        (true, true) => (ReceiptOutcome::Ended, ReceiptOutcome::Survived),
        (false, _) => (ReceiptOutcome::Survived, ReceiptOutcome::Survived),
    };
    receipts(status, process, socket)
}

async fn has_ended(process: ProcessId) -> bool {
    match ExitWatch::open(process) {
        Ok(None) => true,
        Ok(Some(mut watch)) => watch.exited_within(EXIT_TIMEOUT).await.unwrap_or(false),
        Err(_) => false,
    }
}

fn receipts(
    status: &SupervisorView,
    process: ReceiptOutcome,
    socket: ReceiptOutcome,
) -> Vec<Receipt> {
    let receipt = |kind, what, outcome| Receipt {
        kind,
        what,
        outcome,
    };
    vec![
        receipt(
            ReceiptKind::Process,
            format!("{} (supervisor)", status.pid),
            process,
        ),
        receipt(
            ReceiptKind::Socket,
            status.socket.display().to_string(),
            socket,
        ),
    ]
}
