//! Requests of the worker to the supervisor and their answers: ends of tasks, and acknowledgements of messages.

use agent_team_protocol::method::{EndTask, MessageRead, ReadMessages, TaskComplete, TaskFail};
use agent_team_protocol::notification::Deliver;
use agent_team_protocol::text::visible_line;
use agent_team_protocol::{ErrorCode, MessageId, Refusal};

use super::Worker;
use super::state::{State, Task};
use crate::engine::{Claim, Outcome};
use crate::link::{Request, Ticket};
use crate::pane::paint;

/// The subject of an unanswered request.
pub(super) enum PendingReport {
    Complete(Claim),
    Fail(Claim),
    Read(Vec<MessageId>),
    Exit,
}

impl PendingReport {
    pub(super) fn is_report(&self) -> bool {
        matches!(self, Self::Complete(_) | Self::Fail(_))
    }

    pub(super) fn reports(&self, claim: Claim) -> bool {
        matches!(self, Self::Complete(reported) | Self::Fail(reported) if *reported == claim)
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

impl Worker {
    pub(super) fn report(&mut self, task: &Task, outcome: Outcome) {
        let claim = task.run.claim;
        match outcome {
            Outcome::Completed { result } => {
                self.note(&paint::completed(claim.task, task.started.elapsed()));
                let request = Request::of::<TaskComplete>(&claim.ended(result));
                self.ask(request, PendingReport::Complete(claim));
            }
            Outcome::Failed { reason, detail } => {
                self.note(&paint::failed(claim.task, &reason));
                let text = match detail.as_str() {
                    "" => reason,
                    detail => format!("{reason}: {detail}"),
                };
                let request = Request::of::<TaskFail>(&claim.ended(text));
                self.ask(request, PendingReport::Fail(claim));
            }
            // A run is abandoned only when it is being terminated, and that is not reported.
            Outcome::Abandoned => {}
        }
    }

    pub(super) fn ask(&mut self, request: Request, pending: PendingReport) {
        let ticket = self.config.link.request(request);
        self.pending.insert(ticket, pending);
    }

    pub(super) fn answered(&mut self, ticket: Ticket, outcome: Result<(), Refusal>) {
        match (self.pending.remove(&ticket), outcome) {
            (Some(PendingReport::Complete(claim)), Err(refusal))
                if refusal.code == ErrorCode::CompletionRefused =>
            {
                self.note(&paint::failed(claim.task, &refusal.message));
                let request = Request::of::<TaskFail>(&claim.ended(refusal.message));
                self.ask(request, PendingReport::Fail(claim));
            }
            (Some(PendingReport::Complete(claim) | PendingReport::Fail(claim)), Err(refusal)) => {
                self.note(&refused(&format!("cannot end {}", claim.task), &refusal));
            }
            (Some(PendingReport::Read(messages)), _) => {
                for message in messages {
                    self.in_progress.remove(&message);
                }
            }
            (Some(PendingReport::Exit), _) => {
                if let State::Leaving { code, .. } = self.state {
                    self.state = State::Gone { code };
                }
            }
            (Some(PendingReport::Complete(_) | PendingReport::Fail(_)) | None, _) => {}
        }
        self.leave_when_settled();
    }

    pub(super) fn deliver(&mut self, deliver: Deliver) {
        for message in deliver.messages {
            let text = paint::message(&message);
            // The message was delivered again while its acknowledgement is in flight, or while it waits for the pane.
            if !self.in_progress.insert(message.id) {
                continue;
            }
            if self.config.log.line(&text).is_err() {
                // A message that is not in the log does not count as read. The supervisor delivers it again.
                self.in_progress.remove(&message.id);
                continue;
            }
            let read = self.pane.messages(&text, vec![message.id]);
            self.acknowledge(read);
        }
    }

    pub(super) fn acknowledge(&mut self, messages: Vec<MessageId>) {
        if !messages.is_empty() {
            let request = Request::of::<MessageRead>(&ReadMessages {
                messages: messages.clone(),
            });
            self.ask(request, PendingReport::Read(messages));
        }
    }
}

/// Formats a refusal as one line for the user.
pub(crate) fn refused(what: &str, refusal: &Refusal) -> String {
    let hint = refusal.hint.as_ref().map(|hint| format!(" ({hint})"));
    let text = format!("✗ {what}: {}{}", refusal.message, hint.unwrap_or_default());
    visible_line(&text).into_owned()
}
