//! One session: the conversation of an editor with the lead of a team. Called by `server`.
//!
//! ```text
//! idle ──prompt──► goal under way: text, calls, plan ──► the goal has ended ──► answer, stop reason
//!   ▲                 │       └ prompt: a message to the lead                        │
//!   │                 └── question of the lead: the prompt ends; the next one is the reply
//!   └────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! A session shows the lead's text only while it follows a goal: its own goal, a goal that it has joined with a
//! message, or a goal that was under way when the session was loaded. Requests of members are shown at any time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use agent_team_client::json_rpc::{Incoming, Responder, Rpc, RpcFault};
use agent_team_client::{Session, SessionError, Subscription};
use agent_team_protocol::method::{RequestDecide, RequestList, RequestShow, SetMode, TeamMode};
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::request::{ListRequests, OneRequest, RequestState};
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::text::visible;
use agent_team_protocol::view::{RunView, TeamView};
use agent_team_protocol::{MemberName, RequestId, Revision, RunId};
use agent_team_system::random;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::super::mode;
use super::board::Board;
use super::dialogs::{DialogAnswer, Dialogs};
use super::history;
use super::lead_output::LeadOutput;
use super::modes;
use super::wire::{self, INVALID_REQUEST, Speaker, StopReason, chunk};
use crate::error::Failure;

mod events;
mod prompts;

/// The maximum number of prompts that are not answered.
const PROMPTS_MAX: usize = 64;

/// How a session begins.
pub(super) enum Beginning {
    /// The editor has sent `session/new`.
    Opened(Responder),
    /// The editor has sent `session/resume`.
    Resumed(Responder),
    /// The editor has sent `session/load`: the session first sends the conversation so far.
    Loaded(Responder),
    /// The editor has sent this request after the session's task had ended.
    Continued(Incoming),
}

pub(super) struct Conversation {
    rpc: Rpc,
    id: String,
    project: PathBuf,
    lead: MemberName,
    mode: Mode,
    /// The session for calls; events arrive over a separate connection.
    calls: Session,
    events: Subscription,
    /// The prompts that are not answered.
    prompts: Vec<Responder>,
    goal: Option<Goal>,
    /// Waits for the end of the goal. The supervisor looks for a stalled goal only while a client waits for the goal.
    waits: JoinSet<Result<RunView, SessionError>>,
    output: LeadOutput,
    board: Board,
    dialogs: Dialogs,
    /// The number of messages that this session has written itself, for their ids.
    messages: u64,
    /// The beginning of these ids. Unique: a session that is opened again counts from the start.
    message_prefix: String,
}

/// The goal that the session follows.
struct Goal {
    run: RunId,
    /// This session gave the goal, or was loaded while the goal was under way: cancelling the prompt cancels the goal.
    is_own: bool,
}

/// Why the task of a session ends.
enum SessionEnd {
    /// The editor has closed or replaced the session.
    Closed,
    Failed(Failure),
}

impl From<SessionError> for SessionEnd {
    fn from(error: SessionError) -> Self {
        Self::Failed(error.into())
    }
}

impl Conversation {
    /// `from_start`: whether the events start with the first event, for [`Beginning::Loaded`].
    pub(super) async fn open(
        rpc: Rpc,
        id: String,
        team: &TeamView,
        from_start: bool,
    ) -> Result<Self, Failure> {
        let lead = team.members.iter().find(|member| member.lead);
        let lead =
            lead.ok_or_else(|| Failure::usage("cannot open a session: the team has no lead"))?;
        let calls = Session::of_team(TeamRef::Id(team.team.clone()));
        let after = match from_start {
            true => Revision(0),
            false => team.revision,
        };
        let events = Subscription::new(calls.separate(), after, true).await?;
        Ok(Self {
            rpc,
            id,
            project: team.project.clone(),
            lead: lead.name.clone(),
            mode: team.mode.unwrap_or_default(),
            calls,
            events,
            prompts: Vec::new(),
            goal: None,
            waits: JoinSet::new(),
            output: LeadOutput::default(),
            board: Board::new(),
            dialogs: Dialogs::default(),
            messages: 0,
            message_prefix: random::id(),
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Serves the session until the editor closes it, or the supervisor is stopped.
    pub(super) async fn run(
        mut self,
        beginning: Beginning,
        mut requests: UnboundedReceiver<Incoming>,
    ) {
        let ended = match self.begin(beginning).await {
            Ok(()) => self.serve(&mut requests).await,
            Err(ended) => ended,
        };
        match ended {
            SessionEnd::Closed => self.end_prompts(StopReason::Cancelled).await,
            SessionEnd::Failed(failure) => {
                // Close the queue before the editor reads the failure: the editor's next prompt then opens the session
                // again instead of waiting in this queue.
                requests.close();
                let fault = wire::failed(&failure);
                self.fail_prompts(&fault).await;
                // Refuse the requests that arrived before the queue was closed.
                while let Some(mut request) = requests.recv().await {
                    if let Some(responder) = request.responder.take() {
                        responder.reply(Err(fault.clone())).await;
                    }
                }
            }
        }
    }

    async fn begin(&mut self, beginning: Beginning) -> Result<(), SessionEnd> {
        let modes = modes::state(self.mode).await;
        match beginning {
            Beginning::Opened(responder) => {
                let opened = json!({ "sessionId": self.id, "modes": modes });
                responder.reply(Ok(opened)).await;
            }
            Beginning::Loaded(responder) => {
                let replayed = history::replay(&mut self.events, &mut self.calls, &self.lead).await;
                match replayed {
                    Ok(updates) => self.send(updates).await,
                    Err(error) => {
                        let failure = error.into();
                        responder.reply(Err(wire::failed(&failure))).await;
                        return Err(SessionEnd::Failed(failure));
                    }
                }
                responder.reply(Ok(json!({ "modes": modes }))).await;
                self.follow_goal_under_way().await?;
            }
            Beginning::Resumed(responder) => {
                responder.reply(Ok(json!({ "modes": modes }))).await;
                self.follow_goal_under_way().await?;
            }
            Beginning::Continued(incoming) => self.handle(incoming).await?,
        }
        self.send_commands().await;
        self.ask_all().await
    }

    async fn serve(&mut self, requests: &mut UnboundedReceiver<Incoming>) -> SessionEnd {
        loop {
            let due = self.board.due();
            // No timer is pending: `sleep_until` needs some deadline, so take a day.
            let wake = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
            let served = tokio::select! {
                biased;
                request = requests.recv() => match request {
                    Some(request) => self.handle(request).await,
                    None => return SessionEnd::Closed,
                },
                answer = self.dialogs.next_answer() => {
                    self.decide(answer).await;
                    Ok(())
                }
                // The end of the goal is shown when its event arrives; this answer only reports that the supervisor has
                // stopped.
                Some(waited) = self.waits.join_next() => match waited {
                    Ok(Ok(_)) | Err(_) => Ok(()),
                    Ok(Err(error)) => Err(error.into()),
                },
                update = self.events.next_update() => match update {
                    Ok(update) => self.on_update(update).await,
                    Err(error) => Err(error.into()),
                },
                () = tokio::time::sleep_until(wake.into()) => self.refresh_board().await,
            };
            if let Err(ended) = served {
                return ended;
            }
        }
    }

    async fn handle(&mut self, incoming: Incoming) -> Result<(), SessionEnd> {
        let Incoming {
            method,
            params,
            responder,
            ..
        } = incoming;
        match (method.as_str(), responder) {
            ("session/cancel", None) => self.cancel().await,
            ("session/prompt", Some(responder)) if self.prompts.len() >= PROMPTS_MAX => {
                let text = format!("cannot accept the prompt: {PROMPTS_MAX} prompts are open");
                let refused = wire::fault(INVALID_REQUEST, &text);
                responder.reply(Err(refused)).await;
                Ok(())
            }
            ("session/prompt", Some(responder)) => match self.prompt(&params).await {
                Ok(Some(stop)) => {
                    responder.reply(Ok(wire::prompt_end(stop))).await;
                    Ok(())
                }
                Ok(None) => {
                    self.prompts.push(responder);
                    self.ask_all().await
                }
                Err(fault) => {
                    responder.reply(Err(fault)).await;
                    Ok(())
                }
            },
            ("session/set_mode", Some(responder)) => {
                let set = self.set_mode(&params).await;
                responder.reply(set.map(|()| json!({}))).await;
                Ok(())
            }
            (_, Some(responder)) => {
                let text = format!("{method} is a notification");
                let refused = wire::fault(INVALID_REQUEST, &text);
                responder.reply(Err(refused)).await;
                Ok(())
            }
            (_, None) => Ok(()),
        }
    }

    async fn set_mode(&mut self, params: &Value) -> Result<(), RpcFault> {
        let wire::SetMode { mode_id } = wire::parse(params)?;
        let mode = modes::settable(&mode_id).ok_or_else(|| {
            wire::invalid(&format!("cannot set the mode {mode_id:?} in an editor"))
        })?;
        let failed = |failure: Failure| wire::failed(&failure);
        mode::check_sandbox(mode).await.map_err(failed)?;
        let set = SetMode { member: None, mode };
        let set = self.calls.call::<TeamMode>(set).await;
        set.map(drop).map_err(|error| failed(error.into()))
    }

    async fn decide(&mut self, answer: DialogAnswer) {
        let DialogAnswer { request, decide } = answer;
        let Some(decide) = decide else { return };
        let digest = decide.digest.clone();
        let Err(error) = self.calls.call::<RequestDecide>(decide).await else {
            return;
        };
        let one = OneRequest { request };
        let Ok(view) = self.calls.query::<RequestShow>(one).await else {
            return;
        };
        // Another client may have been faster.
        if view.state != RequestState::Pending {
            return;
        }
        // Ask at once about a changed request, but about an unchanged request only with the next prompt: an editor that
        // answers by itself would otherwise repeat the refused decision in a loop.
        if digest.as_ref() != Some(&view.digest) {
            self.dialogs.ask(&self.rpc, &self.id, &view, &self.project);
        } else {
            let why = Failure::from(error).with_hint();
            self.send_message(&format!("Cannot decide {request}: {why}"))
                .await;
        }
    }

    async fn ask(&mut self, request: RequestId) {
        let one = OneRequest { request };
        // Ignore an error: once the supervisor is reachable again, all pending requests are read again.
        if let Ok(view) = self.calls.query::<RequestShow>(one).await {
            self.dialogs.ask(&self.rpc, &self.id, &view, &self.project);
        }
    }

    /// Asks about all pending requests, even those that the editor has left undecided.
    async fn ask_all(&mut self) -> Result<(), SessionEnd> {
        let list = ListRequests { all: false };
        let pending = self.calls.query::<RequestList>(list).await?.requests;
        for view in &pending {
            self.dialogs.ask(&self.rpc, &self.id, view, &self.project);
        }
        Ok(())
    }

    async fn end_prompts(&mut self, stop: StopReason) {
        for responder in std::mem::take(&mut self.prompts) {
            responder.reply(Ok(wire::prompt_end(stop))).await;
        }
    }

    async fn fail_prompts(&mut self, fault: &RpcFault) {
        for responder in std::mem::take(&mut self.prompts) {
            responder.reply(Err(fault.clone())).await;
        }
    }

    /// Sends a text as a message of the agent.
    async fn send_message(&mut self, text: &str) {
        self.messages += 1;
        let message = format!("{}-{}", self.message_prefix, self.messages);
        let text = visible(text);
        self.send([chunk(Speaker::Agent, &text, &message)]).await;
    }

    /// Sends updates. Waits while the editor does not read.
    async fn send(&self, updates: impl IntoIterator<Item = Value>) {
        for update in updates {
            let params = json!({ "sessionId": self.id, "update": update });
            self.rpc.notify_when_read("session/update", params).await;
        }
    }
}
