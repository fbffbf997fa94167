//! The worker's reports to the supervisor: ends of tasks, and messages that were read. Called by `tasks`.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use agent_team_protocol::method::{EndTask, MessageRead, ReadMessages, TaskComplete, TaskFail};
use agent_team_protocol::notification::Deliver;
use agent_team_protocol::{ErrorCode, MessageId, Refusal};

use super::error_line::error_line;
use crate::engine::{Claim, RunOutcome};
use crate::link::{Request, Ticket};
use crate::pane::{Pane, paint};
use crate::worker::{WorkerState, refused};

/// The reports that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Reports {
    pending: HashMap<Ticket, Report>,
    /// Messages that are being shown or acknowledged. They may be delivered again meanwhile.
    in_progress: BTreeSet<MessageId>,
}

/// The subject of an unanswered report.
#[derive(Debug)]
enum Report {
    Complete(Claim),
    Fail(Claim),
    Read(Vec<MessageId>),
}

impl Report {
    fn end_of(&self) -> Option<Claim> {
        match self {
            Self::Complete(claim) | Self::Fail(claim) => Some(*claim),
            Self::Read(_) => None,
        }
    }
}

impl Claim {
    fn ended(self, text: String) -> EndTask {
        EndTask {
            task: self.task,
            generation: Some(self.generation),
            text,
        }
    }
}

/// The reason of a failure, with the line that explains it, and then the output. The lists of tasks show only the first
/// line.
fn failure(reason: String, output: &str) -> String {
    let output = output.trim();
    match error_line(output) {
        "" => reason,
        line if output.lines().next() == Some(line) => format!("{reason}: {output}"),
        line => format!("{reason}: {line}\n{output}"),
    }
}

impl Reports {
    /// Returns whether the end of this claim is reported and not yet answered.
    pub(super) fn is_reported(&self, claim: Claim) -> bool {
        let mut reports = self.pending.values();
        reports.any(|report| report.end_of() == Some(claim))
    }

    /// Returns whether every reported end of a task is answered.
    pub(super) fn is_settled(&self) -> bool {
        let mut reports = self.pending.values();
        reports.all(|report| report.end_of().is_none())
    }

    /// Reports the end of a run. `took`: the duration of the run.
    pub(super) fn end(
        &mut self,
        claim: Claim,
        took: Duration,
        outcome: RunOutcome,
        worker: &mut WorkerState<Pane>,
    ) {
        match outcome {
            RunOutcome::Completed { result } => {
                worker.announce(&paint::completed(claim.task, took));
                let request = Request::of::<TaskComplete>(&claim.ended(result));
                self.send(request, Report::Complete(claim), worker);
            }
            RunOutcome::Failed { reason, detail } => {
                worker.announce(&paint::failed(claim.task, &reason));
                self.fail(claim, failure(reason, &detail), worker);
            }
            // Only a run that the worker terminates is abandoned, and its end is not reported.
            RunOutcome::Abandoned => {}
        }
    }

    fn fail(&mut self, claim: Claim, text: String, worker: &mut WorkerState<Pane>) {
        let request = Request::of::<TaskFail>(&claim.ended(text));
        self.send(request, Report::Fail(claim), worker);
    }

    fn send(&mut self, request: Request, report: Report, worker: &mut WorkerState<Pane>) {
        let ticket = worker.config.link.request(request);
        self.pending.insert(ticket, report);
    }

    pub(super) fn answered(
        &mut self,
        ticket: Ticket,
        outcome: Result<(), Refusal>,
        worker: &mut WorkerState<Pane>,
    ) {
        match (self.pending.remove(&ticket), outcome) {
            (Some(Report::Complete(claim)), Err(refusal))
                if refusal.code == ErrorCode::CompletionRefused =>
            {
                worker.announce(&paint::failed(claim.task, &refusal.message));
                self.fail(claim, refusal.message, worker);
            }
            (Some(Report::Complete(claim) | Report::Fail(claim)), Err(refusal)) => {
                worker.announce(&refused(&format!("cannot end {}", claim.task), &refusal));
            }
            (Some(Report::Read(messages)), _) => {
                for message in messages {
                    self.in_progress.remove(&message);
                }
            }
            (Some(Report::Complete(_) | Report::Fail(_)), Ok(())) | (None, _) => {}
        }
    }

    /// Writes messages to the log and the pane. A message counts as read when it is logged and the pane, if any, has
    /// shown it.
    pub(super) fn deliver(&mut self, deliver: Deliver, worker: &mut WorkerState<Pane>) {
        for message in deliver.messages {
            let text = paint::message(&message);
            // Skip a repeated delivery: the message still waits for the pane, or its acknowledgement is in flight.
            if !self.in_progress.insert(message.id) {
                continue;
            }
            if worker.config.log.line(&text).is_err() {
                // A message that is not in the log does not count as read. The supervisor delivers it again.
                self.in_progress.remove(&message.id);
                continue;
            }
            let read = worker.pane.messages(&text, vec![message.id]);
            self.acknowledge(read, worker);
        }
    }

    pub(super) fn acknowledge(&mut self, messages: Vec<MessageId>, worker: &mut WorkerState<Pane>) {
        if !messages.is_empty() {
            let request = Request::of::<MessageRead>(&ReadMessages {
                messages: messages.clone(),
            });
            self.send(request, Report::Read(messages), worker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::failure;

    #[test]
    fn a_failure_begins_with_the_line_that_explains_it() {
        let failure = |output| failure("exit 1".to_owned(), output);
        assert_eq!(failure("\n"), "exit 1");
        assert_eq!(failure("no luck\n"), "exit 1: no luck");
        assert_eq!(failure("ab\na\n"), "exit 1: a\nab\na");
        assert_eq!(failure("a\nb\n"), "exit 1: b\na\nb");
        assert_eq!(failure("error: a\nb\n"), "exit 1: error: a\nb");
    }
}
