//! Decides what each input means in the current state.
//!
//! A [`Decider`] handles one input. It reads the team, records events, which are applied immediately, and collects
//! effects. A call is refused before its first event, so a refused call changes nothing; the one exception is a
//! completion that a hook refused, which is counted. The driver has already checked that the caller may use the method;
//! decisions check what depends on the member, task or request that the call names.

mod budgets;
mod cancel;
mod claims;
mod lifecycle;
mod messages;
mod proposals;
mod requests;
mod resume;
mod rounds;
mod runs;
mod settle;
mod shutdown;
mod tasks;
mod up;

use std::sync::Arc;

use agent_team_protocol::id::{LaunchId, MemberName, Party};

use crate::effect::Effect;
use crate::input::{Call, Input, Origin, ReplyTo};
use crate::refusal::{Oversized, Refused};
use crate::team::Team;
use crate::team::answers::{Answer, AnsweredCall, CallKey};
use crate::team::event::{Event, Record};
use crate::team::member::Member;
use crate::time::InputContext;
use crate::transition::{CompletedTask, Transition};

/// Maximum length of a message, a result, a description or a shell line, in bytes.
const TEXT_MAX: usize = 64 << 10;

/// Maximum length of a title, key or label, in bytes.
const LABEL_MAX: usize = 1 << 10;

impl Team {
    /// Handles an input: applies its events, and returns them with the effects.
    pub fn advance(&mut self, context: &InputContext, input: Input) -> Transition {
        let mut decider = Decider::new(self, context);
        decider.handle(input);
        decider.settle();
        decider.transition
    }
}

struct Decider<'a> {
    team: &'a mut Team,
    context: &'a InputContext,
    transition: Transition,
    /// How many launches this input has started: each gets its own randomness.
    launches: u64,
    /// An event was recorded after which [`Decider::settle`] may find more to do.
    unsettled: bool,
}

enum CallOutcome {
    Answered(Answer),
    /// The call is answered when the completion hook has returned.
    Deferred,
}

type CallResult = Result<CallOutcome, Refused>;

impl From<Answer> for CallOutcome {
    fn from(answer: Answer) -> Self {
        Self::Answered(answer)
    }
}

impl<'a> Decider<'a> {
    fn new(team: &'a mut Team, context: &'a InputContext) -> Self {
        Self {
            team,
            context,
            transition: Transition::default(),
            launches: 0,
            unsettled: false,
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Resumed { boot } => self.resume(boot),
            Input::Called {
                by,
                key,
                reply,
                call,
            } => self.called(&by, key, reply, call),
            Input::UnreadableSettings { member, reason } => self.hold_unreadable(&member, reason),
            Input::HelloReceived { launch, process } => self.hello_received(&launch, process),
            Input::Exited { launch, exit } => self.exited(&launch, exit),
            Input::NotStarted { launch, fault } => self.not_started(&launch, fault),
            Input::TreeGone { launch } => self.tree_gone(&launch),
            Input::Unresponsive { launch } => self.unresponsive(&launch),
            Input::IdleRefused { launch, reason } => self.idle_refused(&launch, &reason),
            Input::RunStuck { run, reason } => self.run_stuck(run, reason),
            Input::DeadlineReached => self.deadline_reached(),
        }
    }

    fn called(&mut self, by: &Origin, key: Option<CallKey>, reply: ReplyTo, call: Box<Call>) {
        let first = match &key {
            Some(key) => self
                .team
                .answers
                .repeated(key)
                .map(|answer| answer.cloned()),
            None => Ok(None),
        };
        let before = self.transition.records.len();
        let outcome = match first {
            Err(refused) => Err(refused),
            Ok(Some(answer)) => Ok(CallOutcome::Answered(answer)),
            Ok(None) => self.dispatch(by, key.clone(), reply, *call),
        };
        let outcome = match outcome {
            Ok(CallOutcome::Deferred) => return,
            Ok(CallOutcome::Answered(answer)) => {
                if let (Some(key), Some(last)) = (key, self.transition.records[before..].last_mut())
                {
                    let call = AnsweredCall {
                        key,
                        answer: answer.clone(),
                    };
                    last.call = Some(Box::new(call.clone()));
                    self.team.remember(self.context.now, call);
                }
                Ok(answer)
            }
            Err(refused) => Err(refused),
        };
        self.effect(Effect::Reply { to: reply, outcome });
    }

    fn dispatch(
        &mut self,
        by: &Origin,
        key: Option<CallKey>,
        reply: ReplyTo,
        call: Call,
    ) -> CallResult {
        if let Origin::Member { name, launch } = by {
            let member = self.team.member(name).ok_or(Refused::StaleLaunch)?;
            if member
                .life
                .launch()
                .is_none_or(|current| current.id != *launch)
            {
                return Err(Refused::StaleLaunch);
            }
        }
        match call {
            Call::Up(spec) => self.up(*spec),
            Call::Down { force } => self.down(force),
            Call::Spawn { spec } => self.spawn(spec),
            Call::Stop { member, force } => {
                self.user_or_lead(by, &member, "stop a member")?;
                if force && *by != Origin::User {
                    return Err(Refused::NotPermitted("stop a member that objects"));
                }
                self.stop(by, &member, force)
            }
            Call::Remove { member, force } => {
                self.user_or_lead(by, &member, "remove a member")?;
                if force && *by != Origin::User {
                    return Err(Refused::NotPermitted("remove a member that objects"));
                }
                self.remove_member(by, &member, force)
            }
            Call::AnswerStop { objection } => self.answer_stop(by, objection),
            Call::Kill { member } => self.kill(&member),
            Call::Restart { member } => self
                .user_or_lead(by, &member, "restart a member")
                .and_then(|()| self.restart(&member)),
            Call::ReportExit { code, reason, hold } => self.report_exit(by, code, &reason, hold),
            Call::Send {
                to,
                text,
                urgent,
                reply_to,
                note,
            } => self.send(by, &to, text, urgent, reply_to, note),
            Call::Read { messages } => self.read(by, messages),
            Call::AddTask { spec, after, lines } => self.add_task(by, spec, &after, &lines),
            Call::UpdateTask {
                task,
                changes,
                lines,
            } => self.update_task(by, task, *changes, &lines),
            Call::ClaimTask { task } => self.claim_task(by, task),
            Call::AssignTask { task, member } => self.assign_task(by, task, &member),
            Call::CompleteTask {
                claim,
                result,
                hook,
            } => self.complete_task(by, key, reply, claim, result, hook),
            Call::FailTask { claim, reason } => self.fail_task(by, claim, reason),
            Call::ReleaseTask { claim, note } => self.release_task(by, claim, note),
            Call::RetryTask { task } => self.retry_task(by, task),
            Call::CancelTask { task } => self.cancel_task(by, task),
            Call::StartRun(run) => self.start_run(run),
            Call::FinishRun { answer, force } => self.finish_run(answer, force),
            Call::CancelRun { reason } => self.cancel_run(&reason),
            Call::ReplyToQuestion { run, round, text } => self.reply_to_question(run, round, &text),
            Call::Append(progress) => self.append(by, progress),
            Call::Remember { key, value } => self.remember(key, value),
            Call::Ask {
                digest,
                call,
                changes,
                ruling,
            } => self.ask(by, digest, call, changes, ruling),
            Call::Propose { digest, call } => self.propose(by, digest, call),
            Call::Decide {
                request,
                decision,
                covers,
                via,
            } => self.decide(by, request, decision, &covers, via),
            Call::BeginRequest { request } => self.begin_request(by, request),
            Call::EndRequest { request } => self.end_request(by, request),
            Call::WithdrawRequest {
                request,
                allowed_in_agent,
            } => self.withdraw_request(by, request, allowed_in_agent),
            Call::RevokeGrant { request } => self.revoke_grant(request),
            Call::ReplaceSettings { settings } => self.replace_settings(settings),
            Call::SetMode { member, mode } => self.set_mode(by, member, mode),
            Call::SetBudget { member, budget } => self.set_budget(member, budget),
        }
    }

    /// Refuses the call unless it is made by the user, or by the lead and about another member.
    fn user_or_lead(
        &self,
        by: &Origin,
        to: &MemberName,
        action: &'static str,
    ) -> Result<(), Refused> {
        match by {
            Origin::User => Ok(()),
            Origin::Member { name, .. } if to != name && self.member(name)?.spec.lead => Ok(()),
            Origin::Member { .. } => Err(Refused::LeadOnly(action)),
        }
    }

    fn record(&mut self, event: Event) {
        let record = Record {
            at: self.context.wall,
            tick: self.context.now,
            event,
            call: None,
        };
        self.unsettled |= !matches!(
            record.event,
            Event::MessageAccepted { .. } | Event::MessagesRead { .. } | Event::UserRead { .. }
        );
        let blocks = if let Event::TaskCompleted { task, .. } = &record.event {
            self.team.board.blocks(*task).collect()
        } else {
            Vec::new()
        };
        let completed = self.team.apply(&record);
        if let (Some(task), Event::TaskCompleted { result, .. }) = (completed, &record.event) {
            self.transition.completed.push(CompletedTask {
                owner: task.owner().cloned().unwrap_or(Party::User),
                task,
                result: result.clone(),
                blocks,
                revision: self.team.revision(),
                at: record.at,
            });
        }
        self.transition.records.push(record);
    }

    fn effect(&mut self, effect: Effect) {
        self.transition.effects.push(effect);
    }

    fn member(&self, name: &MemberName) -> Result<&Member, Refused> {
        self.team
            .member(name)
            .ok_or_else(|| Refused::UnknownMember(name.to_string()))
    }

    /// The member whose current launch this is. `None`: the input is stale and must be dropped.
    fn current(&self, launch: &LaunchId) -> Option<MemberName> {
        self.team
            .member_of(launch)
            .map(|member| member.spec.name.clone())
    }
}

fn party(by: &Origin) -> Party {
    match by {
        Origin::User => Party::User,
        Origin::Member { name, .. } => Party::Member(name.clone()),
    }
}

fn check_size(what: impl Into<Oversized>, text: &str, limit: usize) -> Result<(), Refused> {
    if text.len() > limit {
        Err(Refused::TooLarge {
            what: what.into(),
            bytes: text.len(),
            limit,
        })
    } else {
        Ok(())
    }
}

/// The first line of a text, short enough for a notice.
fn first_line(text: &str) -> Arc<str> {
    cut(text, 200)
}

/// The first line of a reason. It may be longer than the line of a notice, because a reason can end with a hint.
fn reason_line(text: &str) -> Arc<str> {
    cut(text, 600)
}

fn cut(text: &str, characters: usize) -> Arc<str> {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(characters) {
        Some((at, _)) => format!("{}…", &line[..at]).into(),
        None => line.into(),
    }
}
