//! Receipts of `down`, `team delete` and `supervisor stop`: the outcome of each process, pane, socket, file
//! and worktree.

use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::method::DownAnswer;
use agent_team_protocol::view::{Receipt, ReceiptKind, ReceiptOutcome};
use agent_team_terminal_ui::style::Style;

use super::style::{ATTENTION, BAD};
use super::table::{Cell, Column, Table, elastic, fixed};
use super::{Output, columns};
use crate::error::Failure;

/// Prints the receipts; returns the exit code of [`exit`].
pub(crate) fn show(output: Output, answer: &DownAnswer) -> Result<ExitCode, Failure> {
    output.show(answer, || table(&answer.receipts))?;
    Ok(exit(&answer.receipts))
}

/// Exit code 7 when something survived, else 0.
pub(crate) fn exit(receipts: &[Receipt]) -> ExitCode {
    if receipts
        .iter()
        .any(|receipt| receipt.outcome == ReceiptOutcome::Survived)
    {
        ExitCode::Survived
    } else {
        ExitCode::Done
    }
}

fn table(receipts: &[Receipt]) -> String {
    const COLUMNS: &[Column] = &[fixed("KIND"), elastic("WHAT"), fixed("RESULT")];
    if receipts.is_empty() {
        return "nothing to stop\n".into();
    }
    let mut table = Table::new(COLUMNS);
    for receipt in receipts {
        let (outcome, style) = match receipt.outcome {
            ReceiptOutcome::Ended => ("ended", Style::PLAIN),
            ReceiptOutcome::Closed => ("closed", Style::PLAIN),
            ReceiptOutcome::Removed => ("removed", Style::PLAIN),
            ReceiptOutcome::Kept => ("kept", Style::DIM),
            ReceiptOutcome::Survived => ("survived", BAD),
            ReceiptOutcome::Unknown => ("unknown", ATTENTION),
        };
        let kind = match receipt.kind {
            ReceiptKind::Process => "process",
            ReceiptKind::Pane => "pane",
            ReceiptKind::Socket => "socket",
            ReceiptKind::File => "file",
            ReceiptKind::Worktree => "worktree",
            ReceiptKind::Unknown => "unknown",
        };
        table.row([
            Cell::new(kind),
            Cell::new(&receipt.what),
            Cell::styled(outcome, style),
        ]);
    }
    table.render(columns())
}
