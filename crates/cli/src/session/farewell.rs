//! After the last team: the supervisor goes by itself, and whoever took the team down sees that it did.

use std::time::Duration;

use agent_team_protocol::method::{Nothing, SupervisorStatus};
use agent_team_protocol::view::{Fate, MemberState, Receipt, ReceiptKind, SupervisorView};
use agent_team_system::process::{ExitWatch, ProcessId};

use super::Session;
use crate::error::Failure;

/// How long a supervisor with nothing to do may take to go.
const LIMIT: Duration = Duration::from_secs(10);

impl Session {
    /// Lets go of the supervisor; what became of it and of its socket. Nothing while it has other teams.
    pub(crate) async fn see_off(mut self) -> Result<Vec<Receipt>, Failure> {
        let status = self.ask::<SupervisorStatus>(Nothing {}).await?;
        let members = status.teams.iter().flat_map(|team| &team.members);
        if members
            .into_iter()
            .any(|member| member.state != MemberState::Stopped)
        {
            return Ok(Vec::new());
        }
        let supervisor = ProcessId::of(status.pid).ok().flatten();
        let has_others = status.connections > 1;
        drop(self);
        let gone = match supervisor {
            None => true,
            // Somebody else still talks to it: it goes after them.
            Some(_) if has_others => return Ok(receipts(&status, Fate::Kept, Fate::Kept)),
            Some(process) => has_ended(process).await,
        };
        let (process, socket) = match (gone, status.socket.exists()) {
            (true, false) => (Fate::Ended, Fate::Removed),
            (true, true) => (Fate::Ended, Fate::Survived),
            (false, _) => (Fate::Survived, Fate::Survived),
        };
        Ok(receipts(&status, process, socket))
    }
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
