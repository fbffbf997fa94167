//! Panes away: one member's, or all of the team's with a receipt for each.

use agent_team_protocol::MemberName;
use agent_team_protocol::view::{Fate, Receipt};

use super::call::{Command, TmuxError};
use super::server::{OWN_SERVER, bury};
use super::survey::{Pane, Survey};
use super::{Panes, call};
use crate::launch::pane_receipt;
use crate::settings::TmuxSession;

impl Panes {
    /// Closes the member's pane. Best effort: what is left is closed with the team.
    pub(crate) async fn close(&mut self, member: &MemberName) {
        self.labels.remove(member);
        self.survey = None;
        let closed = match self.look().await {
            Ok(survey) => {
                let hers = |pane: &&Pane| pane.is_of(&self.team) && pane.member == member.as_str();
                self.kill(survey.panes().filter(hers)).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = closed {
            tracing::warn!(%member, %error, "its pane was not closed");
        }
    }

    /// Closes every pane that is tagged as the team's, and ends our own server when it shows nobody else. Tells of
    /// each, as it was found afterwards, and of panes in our windows that are not ours and therefore stay.
    pub(crate) async fn close_all(&mut self) -> Vec<Receipt> {
        self.labels.clear();
        self.survey = None;
        let own = self.session == TmuxSession::Own;
        let _sole = if own {
            Some(OWN_SERVER.lock().await)
        } else {
            None
        };

        let before = match self.look().await {
            Ok(before) => before,
            Err(TmuxError::NoServer(_)) => Survey::default(),
            Err(error) => {
                return vec![pane_receipt(
                    format!("the panes of {} ({error})", self.team),
                    Fate::Survived,
                )];
            }
        };
        let mut left = Ok(Survey::default());
        // A pane that goes by itself meanwhile ends the call for those after it.
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
                tracing::debug!(%error, "a pane was not closed at once");
            }
            left = self.look_after().await;
            if left
                .as_ref()
                .is_ok_and(|left| !left.panes().any(|pane| pane.is_of(&self.team)))
            {
                break;
            }
        }

        if let Err(error) = &left {
            tracing::warn!(%error, "the panes that are left cannot be listed");
        }
        let mut receipts = Vec::new();
        for pane in before.panes().filter(|pane| pane.is_of(&self.team)) {
            let closed = left
                .as_ref()
                .is_ok_and(|left| !left.panes().any(|other| other.id == pane.id));
            let fate = if closed { Fate::Closed } else { Fate::Survived };
            receipts.push(pane_receipt(format!("{} ({})", pane.id, pane.member), fate));
        }
        if let Ok(left) = &left {
            let foreign = left.panes().filter(|pane| self.is_guest(pane));
            receipts.extend(
                foreign.map(|pane| pane_receipt(format!("{} (not ours)", pane.id), Fate::Kept)),
            );
            if own && left.is_empty() {
                receipts.extend(bury(before.server, &self.tmux).await);
            }
        }
        receipts
    }

    /// Whether it is somebody else's pane in a session or window that we made.
    fn is_guest(&self, pane: &Pane) -> bool {
        let team = self.team.as_str();
        !pane.is_of(&self.team) && (pane.session_team == team || pane.window_team == team)
    }

    async fn kill(&self, panes: impl Iterator<Item = &Pane>) -> Result<(), TmuxError> {
        let kill = |pane: &Pane| Command::new("kill-pane").option("-t", &pane.id);
        for call in call::calls(panes.map(kill).collect()) {
            self.tmux.run(&call).await?;
        }
        Ok(())
    }

    /// Looks at what is left; a server that has just lost its last session may be ending, and say so.
    async fn look_after(&mut self) -> Result<Survey, TmuxError> {
        match self.look().await {
            Err(TmuxError::NoServer(_) | TmuxError::Skew(_)) => Ok(Survey::default()),
            looked => looked,
        }
    }
}
