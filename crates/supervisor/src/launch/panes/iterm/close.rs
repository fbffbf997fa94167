//! Closes the session of one member, or all sessions of the team with a receipt for each. Called by the team's
//! launcher.

use agent_team_protocol::MemberName;
use agent_team_protocol::view::{Receipt, ReceiptOutcome};

use super::ItermPanes;
use super::connection::ItermError;
use super::survey::Survey;
use crate::launch::panes::interface::pane_receipt;

impl ItermPanes {
    /// Closes the member's session. Best effort: `down` closes sessions that remain.
    pub(super) async fn close(&mut self, member: &MemberName) {
        self.named.remove(member);
        let closed = async {
            let survey = self.survey().await?;
            match survey.of_member(&self.team, member) {
                Some(session) => self.app.close(vec![session.id.clone()]).await,
                None => Ok(()),
            }
        };
        if let Err(error) = closed.await {
            tracing::warn!(%member, %error, "cannot close the member's session");
        }
    }

    /// Closes every session with the team's tag, except sessions in which another process runs now. Returns a receipt
    /// for each session with the tag.
    pub(super) async fn close_all(&mut self) -> Vec<Receipt> {
        self.named.clear();
        let before = match self.survey().await {
            Ok(before) => before,
            // Most likely the user quit iTerm2, which closed its sessions. If the user only disabled the API of iTerm2,
            // the sessions remain and get no receipt.
            Err(ItermError::Off(_)) => Survey::default(),
            Err(error) => {
                let what = format!("the sessions of {} ({error})", self.team);
                return vec![pane_receipt(what, ReceiptOutcome::Survived)];
            }
        };
        let (kept, ours): (Vec<_>, Vec<_>) = before
            .of_team(&self.team)
            .partition(|session| session.is_taken_over());
        let ids: Vec<_> = ours.iter().map(|session| session.id.clone()).collect();
        if !ids.is_empty()
            && let Err(error) = self.app.close(ids).await
        {
            tracing::warn!(%error, "cannot close all sessions");
        }
        let left = match self.app.sessions().await {
            Ok(left) => Ok(left),
            // Most likely iTerm2 quit when its last window was closed. The user can choose this in its settings.
            Err(ItermError::Off(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let is_left = |id: &str| match &left {
            Ok(left) => left.iter().any(|session| session.id == id),
            Err(_) => true,
        };
        let ours = ours.into_iter().map(|session| {
            let member = session.tag.as_ref().map_or("", |tag| &tag.member);
            let outcome = match is_left(&session.id) {
                true => ReceiptOutcome::Survived,
                false => ReceiptOutcome::Closed,
            };
            pane_receipt(format!("{} ({member})", session.id), outcome)
        });
        let kept = kept.into_iter().map(|session| {
            pane_receipt(
                format!("{} (of another program)", session.id),
                ReceiptOutcome::Kept,
            )
        });
        ours.chain(kept).collect()
    }
}
