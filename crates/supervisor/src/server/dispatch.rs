//! Decodes the common fields of calls, and maps each decoded call to its handler: a change or a query of a driver, or
//! the server itself. Called by the server, once for each frame with a call.
//!
//! This file does not check the caller: the server and the driver do, with the protocol's table of methods.

use agent_team_core::input::{ClaimRef, CompletionHook, NewRun};
use agent_team_core::{Call, Origin};
use agent_team_protocol::id::stable_hash;
use agent_team_protocol::method::{self as m, Method, MethodCall as C};
use agent_team_protocol::request::{OneRequest, WithdrawRequest};
use agent_team_protocol::rpc::{KEY_MAX, TeamRef};
use agent_team_protocol::rule::ForgetRule;
use agent_team_protocol::value::MessageNote;
use agent_team_protocol::{ErrorCode, Refusal};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::convert;
use crate::driver::{Change, Driver, Query, RequestKind};
use crate::outbox::Reply;

/// The common fields of a call, before its arguments are decoded.
pub(super) struct RawCall<'a> {
    pub(super) team: Option<TeamRef>,
    pub(super) key: Option<String>,
    pub(super) args: &'a RawValue,
    pub(super) digest: u64,
}

impl<'a> RawCall<'a> {
    pub(super) fn read(method: &str, params: &'a RawValue) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Read<'a> {
            #[serde(default)]
            team: Option<TeamRef>,
            #[serde(default)]
            key: Option<String>,
            #[serde(borrow)]
            args: &'a RawValue,
        }
        let Read { team, key, args } = serde_json::from_str(params.get())
            .map_err(|error| Refusal::invalid_params(method, &error))?;
        if key.as_ref().is_some_and(|key| key.len() > KEY_MAX) {
            return Err(Refusal::new(
                ErrorCode::InvalidParams,
                format!("the key exceeds {KEY_MAX} bytes"),
            ));
        }
        Ok(Self {
            team,
            key,
            args,
            digest: digest(method, args.get()),
        })
    }
}

/// Hash of the method and its arguments as sent, which distinguishes calls with the same key.
fn digest(method: &str, args: &str) -> u64 {
    stable_hash(method.bytes().chain([0]).chain(args.bytes()))
}

/// The part of the supervisor that answers a call.
pub(super) enum Destination {
    Team(RequestKind),
    Supervisor(SupervisorCall),
}

/// Calls that the server answers itself. Such a call can wait for several teams, so it runs in a tokio task of its own.
pub(super) enum SupervisorCall {
    ListTeams,
    Status,
    Up(Box<m::Up>),
    Delete,
    Stop,
    Restart,
}

pub(super) fn destination(call: C) -> Result<Destination, Refusal> {
    let team_change = |change: Change| Destination::Team(RequestKind::Change(change));
    let change = |call: Call| team_change(Change::Call(Box::new(call)));
    let supervisor = Destination::Supervisor;
    let claim = |end: &m::EndTask| ClaimRef {
        task: end.task,
        generation: end.generation,
    };
    Ok(match call {
        C::TeamUp(up) => supervisor(SupervisorCall::Up(Box::new(up))),
        C::TeamDown(m::Down { force }) => change(Call::Down { force }),
        C::TeamList(_) => supervisor(SupervisorCall::ListTeams),
        C::TeamShow(_) => query(|driver, _, reply| reply.ok(&driver.team_view())),
        C::TeamBudget(m::SetBudget { member, budget }) => {
            change(Call::SetBudget { member, budget })
        }
        C::TeamMode(set) => team_change(Change::SetMode(set)),
        C::TeamDelete(_) => supervisor(SupervisorCall::Delete),
        C::TeamWait(_) => query(|driver, _, reply| driver.wait_until_quiet(reply)),
        C::TeamAttach(attach) => query(|driver, _, reply| driver.attach(reply, attach)),
        C::PaneReopen(m::ReopenPanes { member }) => {
            query(|driver, _, reply| driver.reopen(reply, member))
        }
        C::PaneHold(lend) => query(move |driver, _, reply| driver.lend_terminal(reply, &lend)),

        C::MemberSpawn(spawn) => team_change(Change::Spawn(spawn)),
        C::MemberStop(m::Stop { member, force }) => change(Call::Stop { member, force }),
        C::MemberRemove(m::RemoveMember { member, force }) => {
            change(Call::Remove { member, force })
        }
        C::StopAnswer(m::AnswerStop { objection }) => change(Call::AnswerStop {
            objection: objection.map(Into::into),
        }),
        C::MemberKill(m::OneMember { member }) => change(Call::Kill { member }),
        C::MemberRestart(m::OneMember { member }) => change(Call::Restart { member }),
        C::MemberInterrupt(m::OneMember { member }) => {
            query(move |driver, _, reply| driver.interrupt(reply, &member))
        }
        C::MemberRunLine(m::RunLine { member, line }) => {
            query(move |driver, _, reply| driver.run_line(reply, &member, line))
        }
        C::MemberCompact(m::OneMember { member }) => {
            query(move |driver, _, reply| driver.compact(reply, &member))
        }
        C::MemberShow(m::OneMember { member }) => {
            query(move |driver, _, reply| driver.show_member(reply, &member))
        }
        C::MemberLog(m::OneMember { member }) => {
            query(move |driver, _, reply| driver.find_log(reply, &member))
        }
        C::MemberScreenShow(m::OneMember { member }) => {
            query(move |driver, _, reply| driver.show_screen(reply, &member))
        }
        C::MemberCommands(m::OneMember { member }) => {
            query(move |driver, _, reply| driver.list_commands(reply, &member))
        }
        C::MemberPrompt(prompt) => query(move |driver, _, reply| driver.send_prompt(reply, prompt)),
        C::MemberExit(m::Exit { code, reason, hold }) => {
            change(Call::ReportExit { code, reason, hold })
        }
        C::MemberPing(_) => return Err(Refusal::unknown_method(m::MemberPing::NAME)),

        C::MessageSend(m::SendMessage {
            to,
            text,
            urgent,
            reply_to,
            summary,
            wants_reply,
            attach_outside,
        }) => change(Call::Send {
            to,
            text: text.into(),
            urgent,
            reply_to,
            note: MessageNote {
                summary: summary.map(Into::into),
                wants_reply,
                can_wait: false,
                attach_outside,
                announces: None,
            },
        }),
        C::MessageRead(m::ReadMessages { messages }) => change(Call::Read { messages }),
        C::MessageList(list) => query(|driver, by, reply| driver.list_messages(reply, by, list)),

        C::TaskAdd(m::AddTask { spec }) => {
            let after = convert::after(&spec.after);
            change(Call::AddTask {
                spec: convert::task_spec(spec),
                after,
                lines: Vec::new(),
            })
        }
        C::TaskList(list) => query(move |driver, by, reply| driver.list_tasks(by, reply, list)),
        C::TaskShow(m::OneTask { task }) => {
            query(move |driver, _, reply| driver.show_task(reply, task))
        }
        C::TaskUpdate(m::UpdateTask { task, changes }) => change(Call::UpdateTask {
            task,
            changes: Box::new(convert::task_changes(changes)),
            lines: Vec::new(),
        }),
        C::TaskClaim(m::ClaimTask { task }) => change(Call::ClaimTask { task }),
        C::TaskAssign(m::AssignTask { task, member }) => change(Call::AssignTask { task, member }),
        C::TaskComplete(end) => change(Call::CompleteTask {
            claim: claim(&end),
            result: end.text.into(),
            hook: CompletionHook::NotRun,
        }),
        C::TaskFail(end) => change(Call::FailTask {
            claim: claim(&end),
            reason: end.text.into(),
        }),
        C::TaskRelease(end) => change(Call::ReleaseTask {
            claim: claim(&end),
            note: end.text.into(),
        }),
        C::TaskRetry(m::OneTask { task }) => change(Call::RetryTask { task }),
        C::TaskCancel(m::OneTask { task }) => change(Call::CancelTask { task }),

        C::RunStart(m::StartRun {
            goal,
            then_down,
            anew,
            memory,
            effort,
            attach_outside,
        }) => change(Call::StartRun(NewRun {
            goal: goal.into(),
            then_down,
            anew,
            effort,
            memory: memory
                .into_iter()
                .map(|(key, value)| (key.into(), value.get().into()))
                .collect(),
            attach_outside,
        })),
        C::RunFinish(m::FinishRun { answer, force }) => change(Call::FinishRun {
            answer: answer.into(),
            force,
        }),
        C::RunCancel(m::CancelRun { reason }) => change(Call::CancelRun {
            reason: reason.into(),
        }),
        C::RunQuestion(_) => query(|driver, _, reply| driver.wait_for_question(reply)),
        C::RunReply(m::ReplyToRun { run, round, text }) => change(Call::ReplyToQuestion {
            run,
            round,
            text: text.into(),
        }),
        C::RunRounds(list) => query(move |driver, _, reply| driver.list_rounds(reply, &list)),
        C::RunShow(m::Nothing {}) => query(|driver, _, reply| driver.show_run(reply)),
        C::RunWait(m::WaitRun { run }) => {
            query(move |driver, _, reply| driver.wait_for_run(reply, run))
        }

        C::RequestAsk(ask) => team_change(Change::Ask(Box::new(ask))),
        C::PlanPropose(plan) => team_change(Change::Propose(plan)),
        C::RequestWait(OneRequest { request }) => {
            query(move |driver, by, reply| driver.wait_for_request(reply, by, request))
        }
        C::RequestBegin(OneRequest { request }) => change(Call::BeginRequest { request }),
        C::RequestEnd(OneRequest { request }) => change(Call::EndRequest { request }),
        C::RequestWithdraw(WithdrawRequest {
            request,
            allowed_in_agent,
        }) => change(Call::WithdrawRequest {
            request,
            allowed_in_agent,
        }),
        C::RequestList(list) => query(move |driver, _, reply| driver.list_requests(reply, &list)),
        C::RequestShow(OneRequest { request }) => {
            query(move |driver, _, reply| driver.show_request(reply, request))
        }
        C::RequestDecide(decide) => team_change(Change::Decide(Box::new(decide))),

        C::RuleList(_) => query(|driver, _, reply| driver.list_rules(reply)),
        C::RuleCheck(check) => query(move |driver, _, reply| driver.check_rules(reply, &check)),
        C::RuleForget(ForgetRule { rule }) => team_change(Change::ForgetRule(rule)),
        C::RuleRevoke(OneRequest { request }) => change(Call::RevokeGrant { request }),

        C::TranscriptAppend(append) => change(Call::Append(convert::turn_progress(append)?)),
        C::TranscriptRead(page) => {
            query(|driver, by, reply| driver.read_transcript(reply, by, page))
        }

        C::MemoryPut(m::PutMemory { key, value }) => change(Call::Remember {
            key: key.into(),
            value: value.get().into(),
        }),
        C::MemoryGet(m::GetMemory { key }) => {
            query(move |driver, _, reply| driver.recall(reply, key.as_deref()))
        }

        C::EventSubscribe(subscribe) => {
            query(move |driver, _, reply| driver.subscribe(reply, subscribe))
        }

        C::SupervisorStatus(_) => supervisor(SupervisorCall::Status),
        C::SupervisorStop(_) => supervisor(SupervisorCall::Stop),
        C::SupervisorRestart(_) => supervisor(SupervisorCall::Restart),
    })
}

fn query(answer: impl FnOnce(&mut Driver, &Origin, Reply) + 'static) -> Destination {
    Destination::Team(RequestKind::Query(Query::new(answer)))
}
