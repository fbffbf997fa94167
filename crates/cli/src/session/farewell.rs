//! The supervisor goes, by itself after the last team or because it is stopped, and who made it go sees that it did.

use std::time::Duration;

use agent_team_protocol::method::{DownAnswer, Nothing, SupervisorStatus, SupervisorStop};
use agent_team_protocol::view::{Fate, MemberState, Receipt, ReceiptKind, SupervisorView};
use agent_team_system::process::{ExitWatch, ProcessId};

use super::Session;
use crate::error::Failure;

/// How long a supervisor with nothing to do may take to go.
const LIMIT: Duration = Duration::from_secs(10);

impl Session {
    /// Lets go of the supervisor; what became of it and of its socket. Nothing while it has other teams.
    pub(crate) async fn see_off(mut self) -> Result<Vec<Receipt>, Failure> {
        let (status, supervisor) = self.leaving().await?;
        let members = status.teams.iter().flat_map(|team| &team.members);
        if members
            .into_iter()
            .any(|member| member.state != MemberState::Stopped)
        {
            return Ok(Vec::new());
        }
        drop(self);
        // Somebody else still talks to it: it goes after them.
        if supervisor.is_some() && status.connections > 1 {
            return Ok(receipts(&status, Fate::Kept, Fate::Kept));
        }
        Ok(what_became_of(&status, supervisor).await)
    }

    /// Stops the supervisor, and with it every team; what became of all that they had.
    pub(crate) async fn stop_supervisor(mut self) -> Result<DownAnswer, Failure> {
        let (status, supervisor) = self.leaving().await?;
        let mut answer = self.call::<SupervisorStop>(Nothing {}).await?;
        drop(self);
        answer
            .receipts
            .extend(what_became_of(&status, supervisor).await);
        Ok(answer)
    }

    /// What there is to go, found while it is there: afterwards its pid may be somebody else's.
    async fn leaving(&mut self) -> Result<(SupervisorView, Option<ProcessId>), Failure> {
        let status = self.ask::<SupervisorStatus>(Nothing {}).await?;
        let process = ProcessId::of(status.pid).ok().flatten();
        Ok((status, process))
    }
}

/// Waits for the supervisor's end.
async fn what_became_of(status: &SupervisorView, supervisor: Option<ProcessId>) -> Vec<Receipt> {
    let gone = match supervisor {
        None => true,
        Some(process) => has_ended(process).await,
    };
    let (process, socket) = match (gone, status.socket.exists()) {
        (true, false) => (Fate::Ended, Fate::Removed),
        (true, true) => (Fate::Ended, Fate::Survived),
        (false, _) => (Fate::Survived, Fate::Survived),
    };
    receipts(status, process, socket)
}

async fn has_ended(process: ProcessId) -> bool {
    match ExitWatch::open(process) {
        Ok(None) => true,
        Ok(Some(mut watch)) => watch.exited_within(LIMIT).await.unwrap_or(false),
        Err(_) => false,
    }
}

fn receipts(status: &SupervisorView, process: Fate, socket: Fate) -> Vec<Receipt> {
    let receipt = |kind, what, fate| Receipt { kind, what, fate };
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
