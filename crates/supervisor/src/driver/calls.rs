//! Passes the calls that change the team to the core, and converts the core's answers into the answers of the methods.
//! Called by the driver.

use agent_team_core::refusal::PLAN_FIRST;
use agent_team_core::round::Strategy;
use agent_team_core::{Answer, Call, CallKey, Effect, Input, Origin, ReplyTo};
use agent_team_protocol::method::{
    CallerRole, CancelAnswer, Nothing, RunAnswer, Spawn, TaskAnswer, TranscriptAnswer,
};
use agent_team_protocol::request::{OneRequest, Permission};
use agent_team_protocol::{ErrorCode, Recipient, Refusal};
use agent_team_system::planted::{self, Plant};

use super::Driver;
use super::batch::PostCommit;
use super::replies::{PendingReply, ReplyShape};
use super::request::{Change, Request, RequestKind};
use super::views;
use super::waiters::Condition;
use crate::convert;
use crate::outbox::Reply;

impl Driver {
    pub(super) fn handle_call(&mut self, request: Request) {
        if let Origin::Member { launch, .. } = &request.by {
            self.launches.note_activity(launch);
        }
        if let Err(refusal) = request.method.check(self.role_of(&request.by)) {
            return request.reply.refuse(refusal);
        }
        let Some(request) = self.admit(request) else {
            return;
        };
        if request.kind.is_urgent() {
            self.next_batch.set_urgent();
        }
        let Request {
            by,
            caller,
            key,
            digest,
            reply,
            method: _,
            kind,
        } = request;
        let change = match kind {
            RequestKind::Change(change) => change,
            RequestKind::Query(query) => {
                return self.next_batch.then(PostCommit::Read { by, reply, query });
            }
        };
        let key = key.map(|key| CallKey {
            caller,
            key,
            digest,
        });
        if let Some((answer, shape)) = self.first_answer(&change, key.as_ref()) {
            return self.answer_again(reply, key, shape, answer);
        }
        match change {
            Change::Call(mut call) => {
                let answered = key.as_ref().map(|key| self.team.answered(key));
                if !matches!(answered, Some(Ok(Some(_))))
                    && let Err(refusal) = self.check_role(&call)
                {
                    return reply.refuse(refusal);
                }
                if let Err(refusal) = self.check_question(&by, &call) {
                    return reply.refuse(refusal);
                }
                if let Origin::Member { name, .. } = &by {
                    self.permissions().judge_task_lines(name, &mut call);
                }
                if let Call::CompleteTask { claim, .. } = &mut *call
                    && planted::strikes(Plant::StaleOwner, 1)
                {
                    claim.generation = None;
                }
                let shape = match (&*call, &by) {
                    (Call::Down { .. }, _) => ReplyShape::Down,
                    (Call::Append(_), Origin::Member { name, .. }) => {
                        ReplyShape::Append(name.clone())
                    }
                    _ => ReplyShape::Plain,
                };
                if let (Call::Read { .. } | Call::Append(_), Origin::Member { name, .. }) =
                    (&*call, &by)
                {
                    self.next_batch
                        .then(PostCommit::DeliverMessages(name.clone()));
                }
                self.call(by, key, reply, shape, *call);
            }
            Change::Up(wanted) => self.up(by, key, reply, *wanted),
            Change::Spawn(spawn) => self.spawn(by, key, reply, spawn),
            Change::Ask(ask) => self.ask_permission(by, key, reply, &ask),
            Change::Propose(plan) => self.propose_plan(by, key, reply, plan),
            Change::Decide(decide) => self.decide(by, key, reply, *decide),
            Change::ForgetRule(rule) => self.forget_rule(by, key, reply, &rule),
            Change::SetMode(set) => match self.permissions().set_mode(set) {
                Ok(call) => self.call(by, key, reply, ReplyShape::Plain, call),
                Err(refusal) => reply.refuse(refusal),
            },
        }
    }

    /// Refuses a member's question to a user who cannot answer, or to a lead that reads messages only between rounds:
    /// the member would wait in vain.
    fn check_question(&self, by: &Origin, call: &Call) -> Result<(), Refusal> {
        let (Origin::Member { .. }, Call::Send { to, note, .. }) = (by, call) else {
            return Ok(());
        };
        if !note.wants_reply {
            return Ok(());
        }
        let is_lead = match to {
            Recipient::Lead => true,
            Recipient::Member(name) => self.team.member(name).is_some_and(|it| it.spec.lead),
            Recipient::User | Recipient::All => false,
        };
        let (text, hint) = if is_lead && self.team.spec().strategy != Strategy::Lead {
            (
                "cannot ask the lead: it works in rounds, and reads no message during a round",
                "decide yourself, and state the decision in your result",
            )
        } else if *to == Recipient::User && self.permissions().is_unattended() {
            (
                "cannot ask the user: the team runs without a terminal, so no user answers",
                "decide without the user, and state the decision in your result",
            )
        } else {
            return Ok(());
        };
        Err(Refusal::new(ErrorCode::NotPermitted, text).hint(hint))
    }

    /// Refuses a task for a role that the team does not have. The core knows only the roles of members.
    fn check_role(&self, call: &Call) -> Result<(), Refusal> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "other calls name no role")]
        let role = match call {
            Call::AddTask { spec, .. } => spec.role.as_ref(),
            Call::UpdateTask { changes, .. } => changes.role.as_ref().and_then(Option::as_ref),
            _ => None,
        };
        match role {
            Some(role) => convert::check_known_role(role, &self.team, &self.settings),
            None => Ok(()),
        }
    }

    fn role_of(&self, by: &Origin) -> CallerRole {
        match by {
            Origin::User => CallerRole::User,
            Origin::Member { name, .. } => match self.team.member(name) {
                Some(member) if member.spec.lead => CallerRole::Lead,
                Some(_) | None => CallerRole::Teammate,
            },
        }
    }

    /// Returns the stored answer of a repeated call. Needed for calls that the driver checks against the state, or for
    /// which it writes a file, before the core sees them. Since the first call, the state may have changed (a decided
    /// request, a taken name) or the disk may have filled up. Without the stored answer, the repetition would be
    /// refused although the call was carried out.
    fn first_answer(&self, change: &Change, key: Option<&CallKey>) -> Option<(Answer, ReplyShape)> {
        let answered = || self.team.answered(key?).ok()?.cloned();
        match change {
            Change::Decide(_) | Change::Spawn(_) => Some((answered()?, ReplyShape::Plain)),
            Change::Up(wanted) if !wanted.dry_run => {
                Some((answered()?, self.shape_of_up(&wanted.team_placement)))
            }
            // The core recognises the key of these calls itself.
            Change::Up(_)
            | Change::Call(_)
            | Change::Ask(_)
            | Change::Propose(_)
            | Change::ForgetRule(_)
            | Change::SetMode(_) => None,
        }
    }

    /// Sends the answer after the pending commit, because the first call may be part of that commit.
    fn answer_again(
        &mut self,
        reply: Reply,
        key: Option<CallKey>,
        shape: ReplyShape,
        answer: Answer,
    ) {
        let to = self.replies.add(reply, shape, key);
        let outcome = Ok(answer);
        let reply = Effect::Reply { to, outcome };
        self.next_batch.then(PostCommit::Effect(reply));
    }

    fn spawn(&mut self, by: Origin, key: Option<CallKey>, reply: Reply, spawn: Spawn) {
        let allowed = match &by {
            Origin::Member { name, .. } => {
                convert::check_may_spawn(name, &spawn.role, &self.settings)
            }
            Origin::User => Ok(()),
        };
        let project = &self.identity.project;
        let spec = allowed
            .and_then(|()| convert::spawn_spec(spawn, &by, project, &self.team, &self.settings));
        match spec {
            Ok(spec) => self.call(by, key, reply, ReplyShape::Plain, Call::Spawn { spec }),
            Err(refusal) => reply.refuse(refusal),
        }
    }

    pub(super) fn call(
        &mut self,
        by: Origin,
        key: Option<CallKey>,
        reply: Reply,
        shape: ReplyShape,
        call: Call,
    ) {
        let to = self.replies.add(reply, shape, key.clone());
        self.advance(Input::Called {
            by,
            key,
            reply: to,
            call: Box::new(call),
        });
    }

    /// Sends the core's answer to the caller.
    pub(super) fn answer(
        &mut self,
        to: ReplyTo,
        outcome: Result<Answer, agent_team_core::Refused>,
    ) {
        if let Some(pending) = self.replies.take(to) {
            self.answer_pending(pending, outcome);
        }
    }

    pub(super) fn answer_pending(
        &mut self,
        pending: PendingReply,
        outcome: Result<Answer, agent_team_core::Refused>,
    ) {
        let PendingReply { reply, shape, .. } = pending;
        let answer = match outcome {
            Ok(answer) => answer,
            Err(refused) => return reply.refuse(views::refusal(&self.team, &refused)),
        };
        match (answer, shape) {
            (Answer::Done, ReplyShape::Down) => self.down.add_caller(reply),
            (Answer::Done, _) => reply.ok(&Nothing {}),
            (
                Answer::Task {
                    task,
                    generation,
                    overlaps,
                },
                _,
            ) => {
                reply.ok(&TaskAnswer {
                    task,
                    generation,
                    overlaps,
                });
            }
            (Answer::Request { request }, ReplyShape::Plan) => reply.ok(&OneRequest { request }),
            (Answer::Request { request }, _) => reply.ok(&Permission::Asked { request }),
            (Answer::CallAllowed, ReplyShape::Permit(permission @ Permission::Allowed { .. }))
            | (Answer::CallDenied, ReplyShape::Permit(permission @ Permission::Denied { .. })) => {
                reply.ok(&permission);
            }
            (Answer::CallAllowed | Answer::CallDenied, _) => {
                let text = "the rules changed after the first call with this key: repeat the call with a new key";
                reply.refuse(Refusal::new(ErrorCode::NotAllowed, text));
            }
            (Answer::PlanFirst, _) => reply.ok(&Permission::Denied {
                why: PLAN_FIRST.to_owned(),
            }),
            (Answer::Run { run }, _) => reply.ok(&RunAnswer { run }),
            (Answer::Cancelled { run, tasks }, _) => reply.ok(&CancelAnswer { run, tasks }),
            (Answer::Length { length }, ReplyShape::Append(member)) => {
                reply.ok(&TranscriptAnswer {
                    length,
                    allowance: self.views().allowance(&member),
                })
            }
            (Answer::Length { .. }, _) => {
                reply.refuse(Refusal::internal("only a member appends to a transcript"));
            }
            (Answer::Sent { message, to }, _) => reply.ok(&self.views().sent(message, to)),
            (Answer::Member { member }, _) => self.waiters.add(Condition::Member(member), reply),
            (Answer::Removed { member }, _) => self.waiters.add(Condition::Removed(member), reply),
            (
                Answer::Up { changes },
                ReplyShape::Up {
                    placement,
                    placement_reason,
                },
            ) => {
                self.up_decided(reply, placement, placement_reason, changes);
            }
            (Answer::Up { .. }, _) => {
                reply.refuse(Refusal::internal("unexpected answer of the core: up"))
            }
        }
    }
}
