//! Answers the callers that wait for a condition which now holds, and completes a `down`. Called by the driver after
//! each commit.

use agent_team_protocol::LaunchId;
use agent_team_protocol::view::{Receipt, ReceiptKind, ReceiptOutcome};
use agent_team_system::private_file;
use tokio::sync::oneshot;

use super::Driver;
use super::launches::LaunchRuntime;
use super::message::Message;
use crate::launch::Order;

impl Driver {
    pub(super) fn check_waiters(&mut self) {
        // `RunStuck` ends the run. The callers that wait for the run are answered after the commit of that end.
        if let Some((run, reason)) = self.waiters.stuck_run(&self.team) {
            self.send_to_self(Message::RunStuck { run, reason });
        }
        let settled = self.waiters.settled(&self.views());
        self.waiters.answer(settled, self.team.revision());
        if self.team.is_down() && self.down.begin_closing() {
            self.close_panes();
        }
    }

    /// Adds receipts for processes of a launch if the team is going down.
    pub(super) fn note_ended(&mut self, launch: &LaunchId, pids: &[u32], outcome: ReceiptOutcome) {
        let runtime = self.launches.get(launch).map(LaunchRuntime::member);
        let member = self.team.member_of(launch).map(|member| &member.spec.name);
        let member = runtime
            .or(member)
            .map_or_else(|| launch.to_string(), ToString::to_string);
        self.down.note_processes(pids, &member, outcome);
    }

    fn close_panes(&self) {
        let (closed, receipts) = oneshot::channel();
        self.launcher.order(Order::CloseAll(closed));
        let driver = self.to_self.clone();
        tokio::task::spawn_local(async move {
            let receipts = receipts.await.unwrap_or_default();
            let _driver_gone = driver.send(Message::PanesClosed(receipts));
        });
    }

    pub(super) fn panes_closed(&mut self, receipts: Vec<Receipt>) {
        self.labels.clear();
        if !self.down.is_pending() {
            return;
        }
        self.down.add(receipts);
        if !self.team.is_down() {
            // Another `up` came first: the members were stopped, so the callers of `down` get their receipts; the
            // environment of the new `up` is kept.
            return self.down.answer();
        }
        self.down.add(self.remove_environment());
        self.down.answer();
        self.watch_for_down();
    }

    fn remove_environment(&self) -> Option<Receipt> {
        let file = self
            .directories
            .environment_file(self.identity.team.as_str());
        let outcome = match private_file::discard(&file) {
            Ok(true) => ReceiptOutcome::Removed,
            Ok(false) => return None,
            Err(error) => {
                tracing::error!(file = %file.display(), %error, "cannot remove the team's environment");
                ReceiptOutcome::Survived
            }
        };
        Some(Receipt {
            kind: ReceiptKind::File,
            what: file.display().to_string(),
            outcome,
        })
    }

    /// Sends changed border labels and a changed summary for status lines to the launcher.
    pub(super) fn refresh_labels(&mut self) {
        let orders = self.labels.changes(&self.views());
        for order in orders {
            self.labels.note(&order);
            self.launcher.order(order);
        }
    }
}
