//! The worker's reports to the supervisor: ends of tasks, and messages that were read. Called by `tasks`.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use agent_team_protocol::method::{EndTask, MessageRead, ReadMessages, TaskComplete, TaskFail};
use agent_team_protocol::notification::Deliver;
use agent_team_protocol::{ErrorCode, MessageId, Refusal};

use crate::engine::{Claim, Outcome};
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
        outcome: Outcome,
        worker: &mut WorkerState<Pane>,
    ) {
        match outcome {
            Outcome::Completed { result } => {
                worker.announce(&paint::completed(claim.task, took));
                let request = Request::of::<TaskComplete>(&claim.ended(result));
                self.send(request, Report::Complete(claim), worker);
            }
            Outcome::Failed { reason, detail } => {
                worker.announce(&paint::failed(claim.task, &reason));
                let text = match detail.as_str() {
                    "" => reason,
                    detail => format!("{reason}: {detail}"),
                };
                self.fail(claim, text, worker);
            }
            // Only a run that the worker terminates is abandoned, and its end is not reported.
            Outcome::Abandoned => {}
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
