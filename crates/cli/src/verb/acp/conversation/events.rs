//! The events and the live output of the team, as updates of a session.

use agent_team_client::{Notice, Update};
use agent_team_protocol::event::{ClientEvent, Next};
use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_protocol::notification::{OutputFragment, TransientNotice};
use agent_team_protocol::text::visible_label;
use agent_team_protocol::value::RunFailure;
use agent_team_protocol::view::MemberState;
use agent_team_protocol::{ErrorCode, Party, RequestId, RunId};
use serde_json::json;

use super::super::diffs;
use super::super::history::{no_answer, to_user};
use super::super::wire::{self, StopReason};
use super::{Conversation, SessionEnd};
use crate::error::Failure;

/// The longest title of a session, in characters.
const TITLE_MAX: usize = 80;

impl Conversation {
    pub(super) async fn on_update(&mut self, update: Update) -> Result<(), SessionEnd> {
        match update {
            Update::Notice(Notice::Event(notice)) => self.on_event(notice.event).await,
            Update::Notice(Notice::Transient(notice)) => {
                self.on_output(notice).await;
                Ok(())
            }
            Update::Lost => Ok(()),
            Update::Resumed => {
                self.board.outdate();
                self.ask_all().await
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a session does not show the other events"
    )]
    async fn on_event(&mut self, event: ClientEvent) -> Result<(), SessionEnd> {
        if event.task().is_some() {
            self.board.outdate();
        }
        match event {
            ClientEvent::RunStarted { goal, .. } => {
                let title = visible_label(&goal, TITLE_MAX);
                let update = json!({ "sessionUpdate": "session_info_update", "title": title });
                self.send([update]).await;
            }
            ClientEvent::RunFinished { run, answer } if self.follows(run) => {
                let answer = (!self.output.is_last_message(&answer)).then_some(&*answer);
                return self.end_goal(answer, StopReason::EndTurn).await;
            }
            ClientEvent::RunFailed {
                run,
                failure,
                reason,
            } if self.follows(run) => {
                let stop = match failure {
                    RunFailure::Cancelled => {
                        return self.end_goal(None, StopReason::Cancelled).await;
                    }
                    RunFailure::MaxRounds => StopReason::MaxTurnRequests,
                    RunFailure::Stuck => StopReason::EndTurn,
                };
                let text = no_answer(&reason) + &self.restart_hint().await?;
                return self.end_goal(Some(&text), stop).await;
            }
            ClientEvent::RunAbandoned { run } if self.follows(run) => {
                let text = no_answer("another goal has replaced it");
                return self.end_goal(Some(&text), StopReason::Cancelled).await;
            }
            ClientEvent::LaunchEnded { member, next, .. }
            | ClientEvent::MemberParked { member, next }
                if member == self.lead =>
            {
                return self.on_lead_stopped(&next).await;
            }
            ClientEvent::MessageAccepted {
                from: Party::Member(from),
                to,
                text,
                note,
                ..
            } if to.contains(&Party::User) => {
                self.send_message(&to_user(&from, &text)).await;
                // The lead waits for the reply, and the editor sends it only after the end of the prompt.
                if from == self.lead && note.wants_reply {
                    self.end_prompts(StopReason::EndTurn).await;
                }
            }
            ClientEvent::RequestAsked { request, .. } => self.ask(request).await,
            ClientEvent::RequestAllowed { request, .. } => {
                self.set_request_status(request, "in_progress", "").await;
            }
            ClientEvent::RequestEnded { request } => {
                self.set_request_status(request, "completed", "").await;
            }
            ClientEvent::RequestDenied {
                request,
                by,
                reason,
                ..
            } => {
                let why = match reason.is_empty() {
                    true => format!("denied by {by}"),
                    false => format!("denied by {by}: {reason}"),
                };
                self.set_request_status(request, "failed", &why).await;
            }
            ClientEvent::RequestWithdrawn { request, .. } => {
                self.set_request_status(request, "failed", "the request was withdrawn")
                    .await;
            }
            ClientEvent::ModeChanged { member: None, mode } => {
                self.mode = mode;
                let update =
                    json!({ "sessionUpdate": "current_mode_update", "currentModeId": mode.name() });
                self.send([update]).await;
            }
            _ => {}
        }
        Ok(())
    }

    /// The goal of a stopped lead continues with its next launch. Prompts wait for that launch only if the supervisor
    /// starts it without the user.
    async fn on_lead_stopped(&mut self, next: &Next) -> Result<(), SessionEnd> {
        match next {
            Next::Hold { reason } => {
                let held =
                    Failure::of(ErrorCode::WrongState, format!("the lead is held: {reason}"));
                let held = held.hint(self.restart_command());
                self.fail_prompts(&wire::failed(&held)).await;
                Ok(())
            }
            // The next prompt opens the session again, which starts a team that is down.
            Next::Stop => {
                let stopped = Failure::of(ErrorCode::WrongState, "the lead was stopped");
                Err(SessionEnd::Failed(stopped.hint(
                    "send another prompt: it starts the team if the team is down",
                )))
            }
            Next::Launch | Next::Cool {} => Ok(()),
        }
    }

    /// A line with the command that starts the lead, if the lead does not run. Empty for a running lead.
    async fn restart_hint(&mut self) -> Result<String, SessionEnd> {
        let team = self.calls.query::<TeamShow>(Nothing {}).await?;
        let mut members = team.members.into_iter();
        let lead = members.find(|member| member.name == self.lead);
        let is_stopped =
            lead.is_some_and(|lead| matches!(lead.state, MemberState::Held | MemberState::Stopped));
        Ok(match is_stopped {
            true => format!("\n\nTo start the lead, {}", self.restart_command()),
            false => String::new(),
        })
    }

    fn restart_command(&self) -> String {
        format!("run in a terminal: agent-team restart {}", self.lead)
    }

    async fn on_output(&mut self, notice: TransientNotice) {
        if self.goal.is_none() {
            return;
        }
        let TransientNotice {
            member,
            text,
            fragments,
            ..
        } = notice;
        self.board.on_output(&member, &text);
        for fragment in &fragments {
            if let OutputFragment::Lines { text, diff: true } = fragment {
                self.board
                    .on_diff(&member, diffs::hunks(text, &self.project));
            }
        }
        if member == self.lead {
            let updates = self.output.updates(fragments, &self.project);
            self.send(updates).await;
        }
    }

    pub(super) async fn refresh_board(&mut self) -> Result<(), SessionEnd> {
        let begins = self.goal.is_some();
        let updates = self.board.refresh(&mut self.calls, begins).await?;
        self.send(updates).await;
        Ok(())
    }

    fn follows(&self, run: RunId) -> bool {
        self.goal.as_ref().is_some_and(|goal| goal.run == run)
    }

    /// The followed goal has ended: sends this text, and answers the prompts with `stop`.
    async fn end_goal(&mut self, text: Option<&str>, stop: StopReason) -> Result<(), SessionEnd> {
        self.board.outdate();
        self.refresh_board().await?;
        let ended = self.output.end();
        self.send(ended).await;
        if let Some(text) = text {
            self.send_message(text).await;
        }
        self.goal = None;
        self.end_prompts(stop).await;
        Ok(())
    }

    async fn set_request_status(&mut self, request: RequestId, status: &str, why: &str) {
        let update = self.dialogs.set_status(request, status, why);
        self.send(update).await;
    }
}
