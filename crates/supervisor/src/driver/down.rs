//! A `down` in progress: its callers, and the receipts for them. Called by the driver.

use agent_team_protocol::method::DownAnswer;
use agent_team_protocol::view::{Receipt, ReceiptKind, ReceiptOutcome};

use crate::outbox::Reply;

#[derive(Debug, Default)]
pub(super) struct Down(Option<PendingDown>);

#[derive(Debug, Default)]
struct PendingDown {
    replies: Vec<Reply>,
    receipts: Vec<Receipt>,
    /// The panes are being closed.
    closing: bool,
}

impl Down {
    pub(super) fn is_pending(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn add_caller(&mut self, reply: Reply) {
        self.0.get_or_insert_default().replies.push(reply);
    }

    /// Adds a receipt for each process of a member, or updates the receipt that the process already has: after a failed
    /// commit, the driver terminates and reports the processes a second time.
    pub(super) fn note_processes(&mut self, pids: &[u32], member: &str, outcome: ReceiptOutcome) {
        let Some(down) = &mut self.0 else { return };
        for pid in pids {
            let begins = format!("{pid} (");
            let known = down.receipts.iter_mut().find(|receipt| {
                receipt.kind == ReceiptKind::Process && receipt.what.starts_with(&begins)
            });
            match known {
                Some(receipt) => receipt.outcome = outcome,
                None => down.receipts.push(Receipt {
                    kind: ReceiptKind::Process,
                    what: format!("{begins}{member})"),
                    outcome,
                }),
            }
        }
    }

    pub(super) fn add(&mut self, receipts: impl IntoIterator<Item = Receipt>) {
        if let Some(down) = &mut self.0 {
            down.receipts.extend(receipts);
        }
    }

    /// Called when all members have ended. Returns true at the first call during a `down`: the panes must be closed
    /// now.
    pub(super) fn begin_closing(&mut self) -> bool {
        match &mut self.0 {
            Some(down) => !std::mem::replace(&mut down.closing, true),
            None => false,
        }
    }

    /// Answers all callers with the receipts so far.
    pub(super) fn answer(&mut self) {
        if let Some(PendingDown {
            replies, receipts, ..
        }) = self.0.take()
        {
            let answer = DownAnswer { receipts };
            for reply in replies {
                reply.ok(&answer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::caller;
    use super::*;

    #[test]
    fn a_process_has_one_receipt_with_its_last_outcome() {
        let mut down = Down::default();
        down.note_processes(&[1], "ada", ReceiptOutcome::Ended);
        assert!(!down.is_pending() && !down.begin_closing());
        let ((one, mut first), (two, mut second)) = (caller(), caller());
        down.add_caller(one);
        down.note_processes(&[12, 1], "ada", ReceiptOutcome::Survived);
        down.note_processes(&[1], "ada", ReceiptOutcome::Ended);
        down.add_caller(two);
        assert!(down.begin_closing(), "closing the panes does not begin");
        assert!(!down.begin_closing());
        down.answer();
        assert!(!down.is_pending());
        let answer = first.next().unwrap();
        let receipts = answer["result"]["receipts"].as_array().unwrap();
        let shown = receipts
            .iter()
            .map(|receipt| (receipt["what"].as_str().unwrap(), &receipt["fate"]));
        let shown: Vec<_> = shown
            .map(|(what, outcome)| format!("{what} {outcome}"))
            .collect();
        assert_eq!(shown, ["12 (ada) \"survived\"", "1 (ada) \"ended\""]);
        assert_eq!(second.next().unwrap()["result"], answer["result"]);
    }
}
