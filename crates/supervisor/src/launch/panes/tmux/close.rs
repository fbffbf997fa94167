//! Closes the pane of one member, or all panes of the team with a receipt for each. Called by the team's launcher.

use agent_team_protocol::MemberName;
use agent_team_protocol::view::{Receipt, ReceiptOutcome};

use super::call::{Command, TmuxError};
use super::server::{OWN_SERVER, clean_up_server};
use super::survey::{Pane, Survey};
use super::{TmuxPanes, call};
use crate::launch::panes::interface::pane_receipt;

impl TmuxPanes {
    /// Closes the member's pane. Best effort: remaining panes are closed with the team.
    pub(super) async fn close(&mut self, member: &MemberName) {
        self.labels.remove(member);
        self.survey = None;
        let closed = match self.list_panes().await {
            Ok(survey) => {
                let of_member =
                    |pane: &&Pane| pane.is_of(&self.team) && pane.member == member.as_str();
                self.kill(survey.panes().filter(of_member)).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = closed {
            tracing::warn!(%member, %error, "cannot close the member's pane");
        }
    }

    /// Closes every pane with the team's tag. If no other pane is left on agent-team's server, waits for the server's
    /// exit and removes its files. Returns a receipt for each of the team's panes, and for each pane of the user in the
    /// team's windows: those panes stay open.
    pub(super) async fn close_all(&mut self) -> Vec<Receipt> {
        self.labels.clear();
        self.survey = None;
        let _own_server = match &self.own {
            Some(_) => Some(OWN_SERVER.lock().await),
            None => None,
        };

        let before = match self.list_panes().await {
            Ok(before) => before,
            Err(TmuxError::NoServer(_)) => Survey::default(),
            Err(error) => {
                return vec![pane_receipt(
                    format!("the panes of {} ({error})", self.team),
                    ReceiptOutcome::Survived,
                )];
            }
        };
        let mut left = Ok(Survey::default());
        // tmux stops a call at the first failing command: if a pane closes by itself before its command runs, the panes
        // after it stay open. So the remaining panes are listed and closed a second time.
        for _ in 0..2 {
            let remaining = left
                .as_ref()
                .ok()
                .filter(|left| !left.is_empty())
                .unwrap_or(&before);
            if let Err(error) = self
                .kill(remaining.panes().filter(|pane| pane.is_of(&self.team)))
                .await
            {
                tracing::debug!(%error, "cannot close a pane at the first attempt");
            }
            left = self.list_remaining().await;
            if left
                .as_ref()
                .is_ok_and(|left| !left.panes().any(|pane| pane.is_of(&self.team)))
            {
                break;
            }
        }

        if let Err(error) = &left {
            tracing::warn!(%error, "cannot list the remaining panes");
        }
        let mut receipts = Vec::new();
        for pane in before.panes().filter(|pane| pane.is_of(&self.team)) {
            let closed = left
                .as_ref()
                .is_ok_and(|left| !left.panes().any(|other| other.id == pane.id));
            let outcome = if closed {
                ReceiptOutcome::Closed
            } else {
                ReceiptOutcome::Survived
            };
            receipts.push(pane_receipt(
                format!("{} ({})", pane.id, pane.member),
                outcome,
            ));
        }
        if let Ok(left) = &left {
            let foreign = left.panes().filter(|pane| self.is_foreign(pane));
            receipts.extend(foreign.map(|pane| {
                pane_receipt(
                    format!("{} (of another program)", pane.id),
                    ReceiptOutcome::Kept,
                )
            }));
            if let Some(own) = &self.own
                && left.is_empty()
            {
                receipts.extend(clean_up_server(before.server, &self.tmux.socket, own).await);
            }
        }
        receipts
    }

    /// Whether the pane is not the team's, but is in a session or window of the team.
    fn is_foreign(&self, pane: &Pane) -> bool {
        let team = self.team.as_str();
        !pane.is_of(&self.team) && (pane.session_team == team || pane.window_team == team)
    }

    async fn kill(&self, panes: impl Iterator<Item = &Pane>) -> Result<(), TmuxError> {
        let kill = |pane: &Pane| Command::of(&["kill-pane", "-t", &pane.id]);
        for call in call::calls(panes.map(kill).collect()) {
            self.tmux.run(&call).await?;
        }
        Ok(())
    }

    /// Lists the remaining panes. Agent-team's server exits with its last session, so "no server" means that nothing is
    /// left.
    async fn list_remaining(&mut self) -> Result<Survey, TmuxError> {
        match self.list_panes().await {
            Err(TmuxError::NoServer(_) | TmuxError::Skew(_)) => Ok(Survey::default()),
            listed => listed,
        }
    }
}
