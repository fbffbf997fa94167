//! The traffic between an agent and the supervisor: the task that the member owns, the calls of the loop and its tools,
//! and the waits of these calls. Called by `agent`.

use std::collections::HashMap;

use agent_team_protocol::method::{
    EndTask, Method, RequestWait, TaskComplete, TaskFail, TaskRelease,
};
use agent_team_protocol::notification::{
    Abandon, Assignment, MemberModel, MemberPrompts, MemberWaits,
};
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::request::{Channel, Decided, OneRequest, RequestState, RequestView};
use agent_team_protocol::view::Waiting;
use agent_team_protocol::{ErrorCode, Refusal, RequestId};
use agent_team_tools::supervisor_client::ClientCall;
use agent_team_tools::team::Claims;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::hooks::Hooks;
use super::inbox::{Input, InputSender};
use crate::engine::Claim;
use crate::link::{Notice, Request, Ticket};
use crate::pane::{AgentPane, MemberPane as _};
use crate::typed::Action;
use crate::worker::WorkerState;

pub(super) struct SupervisorCalls {
    /// The inputs of the agent loop.
    inputs: InputSender,
    claims: Claims,
    /// `None` for an engine of the embedding program.
    hooks: Option<Hooks>,
    /// The task that this member owns according to the supervisor.
    assignment: Option<Assignment>,
    /// Calls that are not answered yet.
    pending: HashMap<Ticket, PendingCall>,
    /// The wait that was last reported to the supervisor.
    waits: Option<Waiting>,
    /// The model that was last reported to the supervisor.
    model: Option<MemberModel>,
    prompts: MemberPrompts,
    /// The permission request on which a tool is waiting.
    awaited: Option<RequestId>,
}

struct PendingCall {
    answer: oneshot::Sender<Result<Box<RawValue>, Refusal>>,
    /// The claim that this call ends.
    ends: Option<Claim>,
    /// The permission request whose decision this call awaits.
    awaited: Option<RequestId>,
}

impl SupervisorCalls {
    pub(super) fn new(inputs: InputSender, claims: Claims, hooks: Option<Hooks>) -> Self {
        Self {
            inputs,
            claims,
            hooks,
            assignment: None,
            pending: HashMap::new(),
            waits: None,
            model: None,
            prompts: MemberPrompts::default(),
            awaited: None,
        }
    }

    /// Sets the permission mode that hooks receive.
    pub(super) fn set_mode(&self, mode: Mode) {
        if let Some(hooks) = &self.hooks {
            hooks.set_mode(mode);
        }
    }

    pub(super) fn claim(&self) -> Option<Claim> {
        self.assignment.as_ref().map(Claim::from)
    }

    /// Returns whether the end of this claim is reported and not yet answered.
    pub(super) fn is_reported(&self, claim: Claim) -> bool {
        let mut calls = self.pending.values();
        calls.any(|call| call.ends == Some(claim))
    }

    pub(super) fn start(&mut self, assignment: Assignment) {
        let claim = Claim::from(&assignment);
        if self.claim() == Some(claim) {
            return;
        }
        self.lose_claim("a new assignment replaces it");
        self.claims.note(claim.task, claim.generation);
        self.assignment = Some(assignment.clone());
        self.inputs.send(Input::Task(assignment));
    }

    pub(super) fn lose_claim(&mut self, why: &str) {
        let Some(claim) = self.claim() else { return };
        if self.is_reported(claim) {
            self.forget(claim);
            return;
        }
        self.abandon(Abandon {
            task: claim.task,
            generation: claim.generation,
            reason: why.to_owned(),
        });
    }

    pub(super) fn abandon(&mut self, abandon: Abandon) {
        let claim = Claim {
            task: abandon.task,
            generation: abandon.generation,
        };
        if self.forget(claim) {
            self.inputs.send(Input::Abandoned(abandon));
        }
    }

    /// Forgets the claim. Returns false if this member did not hold it.
    fn forget(&mut self, claim: Claim) -> bool {
        self.claims.forget(claim.task, claim.generation);
        self.assignment
            .take_if(|held| Claim::from(&*held) == claim)
            .is_some()
    }

    /// Sends a call of the loop or a tool.
    pub(super) fn send(&mut self, call: ClientCall, worker: &mut WorkerState<AgentPane>) {
        let ClientCall {
            method,
            args,
            answer,
        } = call;
        let ends = ended_claim(method, &args);
        let awaited = awaited_request(method, &args);
        if let Some(request) = awaited {
            if let Some(hooks) = &self.hooks {
                hooks.notify(
                    "permission_prompt",
                    format!("{request} waits for a decision"),
                );
            }
            self.awaited = awaited;
            self.show_waits(worker);
            self.look_up_request(worker);
        }
        // Send earlier output first: the supervisor then receives it before the call.
        worker.flush(self.claim().map(|claim| claim.task));
        let ticket = worker.config.link.request(Request { method, args });
        let call = PendingCall {
            answer,
            ends,
            awaited,
        };
        self.pending.insert(ticket, call);
    }

    pub(super) fn answered(
        &mut self,
        ticket: Ticket,
        outcome: Result<Box<RawValue>, Refusal>,
        worker: &mut WorkerState<AgentPane>,
    ) {
        let Some(call) = self.pending.remove(&ticket) else {
            return;
        };
        if let Some(request) = call.awaited {
            self.awaited.take_if(|awaited| *awaited == request);
            let decided = outcome.as_ref().ok();
            let decided = decided.and_then(|answer| serde_json::from_str(answer.get()).ok());
            let decided = decided.unwrap_or(Decided::Unknown);
            worker.pane.view.end_request(request, &decided);
            self.show_waits(worker);
        }
        if let Some(claim) = call.ends
            && outcome.as_ref().map_or_else(is_stale, |_| true)
        {
            self.forget(claim);
        }
        // The caller may have been interrupted meanwhile.
        let _given_up = call.answer.send(outcome);
    }

    /// Looks up the permission request for which a tool waits, to show it in the pane.
    pub(super) fn look_up_request(&self, worker: &WorkerState<AgentPane>) {
        if let Some(request) = self.awaited.filter(|_| worker.pane.surface().is_open()) {
            // The receiver of the actions exists until the process exits.
            let _ended = worker.config.typed.actions.send(Action::Show(request));
        }
    }

    pub(super) fn show_request(&self, view: RequestView, worker: &mut WorkerState<AgentPane>) {
        if self.awaited == Some(view.id) && view.state == RequestState::Pending {
            worker.pane.view.ask(view, Channel::Pane);
        }
    }

    /// Records the agent's wait, and reports it to the supervisor.
    pub(super) fn set_wait(&mut self, on: Option<Waiting>, worker: &mut WorkerState<AgentPane>) {
        self.waits.clone_from(&on);
        self.show_waits(worker);
        worker.config.link.notify(Notice::Waits(MemberWaits { on }));
    }

    /// Reports the model that answers, and the use of its window, if the model or the percentage has changed.
    pub(super) fn set_model(&mut self, model: MemberModel, worker: &WorkerState<AgentPane>) {
        let shown = |it: &MemberModel| {
            (
                it.model.clone(),
                it.context.map(|context| context.percent()),
            )
        };
        if self.model.as_ref().map(shown) != Some(shown(&model)) {
            worker.config.link.notify(Notice::Model(model.clone()));
            self.model = Some(model);
        }
    }

    /// Reports the prompts of the MCP servers, if they have changed.
    pub(super) fn set_prompts(&mut self, prompts: MemberPrompts, worker: &WorkerState<AgentPane>) {
        if self.prompts != prompts {
            worker.config.link.notify(Notice::Prompts(prompts.clone()));
            self.prompts = prompts;
        }
    }

    /// Reports the wait, the model and the prompts again, over a new connection.
    pub(super) fn report_again(&self, worker: &WorkerState<AgentPane>) {
        if self.prompts != MemberPrompts::default() {
            let prompts = self.prompts.clone();
            worker.config.link.notify(Notice::Prompts(prompts));
        }
        if let Some(model) = self.model.clone() {
            worker.config.link.notify(Notice::Model(model));
        }
        if let Some(on) = self.waits.clone() {
            let waits = MemberWaits { on: Some(on) };
            worker.config.link.notify(Notice::Waits(waits));
        }
    }

    fn show_waits(&self, worker: &mut WorkerState<AgentPane>) {
        let waits = self.waits.is_some() || self.awaited.is_some();
        worker
            .pane
            .view
            .set_waiting(waits, std::time::Instant::now());
    }
}

/// The claim that this call ends if it succeeds, or if the claim is already stale.
fn ended_claim(method: &str, args: &RawValue) -> Option<Claim> {
    let ends = [TaskComplete::NAME, TaskFail::NAME, TaskRelease::NAME];
    let ended: EndTask = ends
        .contains(&method)
        .then(|| serde_json::from_str(args.get()).ok())
        .flatten()?;
    Some(Claim {
        task: ended.task,
        generation: ended.generation?,
    })
}

/// The permission request whose decision this call awaits.
fn awaited_request(method: &str, args: &RawValue) -> Option<RequestId> {
    let one: OneRequest = (method == RequestWait::NAME)
        .then(|| serde_json::from_str(args.get()).ok())
        .flatten()?;
    Some(one.request)
}

fn is_stale(refusal: &Refusal) -> bool {
    refusal.code == ErrorCode::StaleClaim
}
