//! What the worker asks of the supervisor, and what the answers mean: the ends of tasks, and messages that were read.

use agent_team_protocol::method::{EndTask, MessageRead, ReadMessages, TaskComplete, TaskFail};
use agent_team_protocol::notification::Deliver;
use agent_team_protocol::text::visible_line;
use agent_team_protocol::{ErrorCode, MessageId, Refusal};

use super::Worker;
use super::state::{State, Task};
use crate::engine::{Claim, Outcome};
use crate::link::{Request, Ticket};
use crate::pane::paint;

/// What an unanswered request was about.
pub(super) enum Asked {
    Complete(Claim),
    Fail(Claim),
    Read(Vec<MessageId>),
    Exit,
}

impl Asked {
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
                self.ask(request, Asked::Complete(claim));
            }
            Outcome::Failed { reason, detail } => {
                self.note(&paint::failed(claim.task, &reason));
                let text = match detail.as_str() {
                    "" => reason,
                    detail => format!("{reason}: {detail}"),
                };
                let request = Request::of::<TaskFail>(&claim.ended(text));
                self.ask(request, Asked::Fail(claim));
            }
            // Only what is being ended is abandoned, and that is not reported.
            Outcome::Abandoned => {}
        }
    }

    pub(super) fn ask(&mut self, request: Request, asked: Asked) {
        let ticket = self.parts.link.request(request);
        self.asked.insert(ticket, asked);
    }

    pub(super) fn answered(&mut self, ticket: Ticket, outcome: Result<(), Refusal>) {
        match (self.asked.remove(&ticket), outcome) {
            (Some(Asked::Complete(claim)), Err(refusal))
                if refusal.code == ErrorCode::CompletionRefused =>
            {
                self.note(&paint::failed(claim.task, &refusal.message));
                let request = Request::of::<TaskFail>(&claim.ended(refusal.message));
                self.ask(request, Asked::Fail(claim));
            }
            (Some(Asked::Complete(claim) | Asked::Fail(claim)), Err(refusal)) => {
                self.note(&refused(
                    &format!("{} is not taken as ended", claim.task),
                    &refusal,
                ));
            }
            (Some(Asked::Read(messages)), _) => {
                for message in messages {
                    self.in_hand.remove(&message);
                }
            }
            (Some(Asked::Exit), _) => {
                if let State::Leaving { code, .. } = self.state {
                    self.state = State::Gone { code };
                }
            }
            (Some(Asked::Complete(_) | Asked::Fail(_)) | None, _) => {}
        }
        self.leave_when_settled();
    }

    pub(super) fn deliver(&mut self, deliver: Deliver) {
        for message in deliver.messages {
            let text = paint::message(&message);
            // Offered again while its acknowledgement is on its way, or while it waits for the pane.
            if !self.in_hand.insert(message.id) {
                continue;
            }
            if self.parts.log.line(&text).is_err() {
                // Not read, since it is not in the log: it will be offered again.
                self.in_hand.remove(&message.id);
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
            self.ask(request, Asked::Read(messages));
        }
    }
}

/// A refusal as one line for a person.
pub(crate) fn refused(what: &str, refusal: &Refusal) -> String {
    let hint = refusal.hint.as_ref().map(|hint| format!(" ({hint})"));
    let text = format!("✗ {what}: {}{}", refusal.message, hint.unwrap_or_default());
    visible_line(&text).into_owned()
}
