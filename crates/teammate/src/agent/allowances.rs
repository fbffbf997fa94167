//! The allowance of a member: whether its models may be called, and with which effort. The inbox updates the allowance;
//! the agent loop and the helpers wait for it.

use agent_team_protocol::notification::Allowance;
use agent_team_protocol::value::Effort;
use tokio::sync::watch;

/// The newest allowance of a member. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowances(watch::Sender<Allowance>);

impl Allowances {
    /// Sets the allowance, regardless of its revision.
    pub(super) fn replace(&self, allowance: Allowance) {
        self.0.send_replace(allowance);
    }

    /// Updates the allowance. An update with an older revision is ignored.
    pub(super) fn update(&self, allowance: Allowance) {
        self.0.send_if_modified(|newest| {
            let is_newer = allowance.as_of >= newest.as_of;
            if is_newer {
                *newest = allowance;
            }
            is_newer
        });
    }

    /// Why no model may be called now.
    pub(super) fn waits(&self) -> Option<String> {
        self.0.borrow().waits.clone()
    }

    /// How much models think for the goal under way. `None`: as configured.
    pub(super) fn effort(&self) -> Option<Effort> {
        self.0.borrow().effort
    }

    /// Waits until a model may be called. Cancel-safe.
    pub(super) async fn until_allowed(&self) {
        let mut allowance = self.0.subscribe();
        let allowed = allowance.wait_for(|allowance| allowance.waits.is_none());
        // This value holds a sender, so the wait cannot fail.
        let _allowed = allowed.await;
    }
}
