//! Decodes calls: maps each method name to a typed call and its destination. The only place that knows method names.
//!
//! It only parses. Whether the caller may make the call, and its result, are decided by the server and the drivers.

use agent_team_core::Call;
use agent_team_core::input::{ClaimRef, Verdict};
use agent_team_core::mail::MessageNote;
use agent_team_protocol::id::stable_hash;
use agent_team_protocol::method::{self as m, Method};
use agent_team_protocol::rpc::{KEY_MAX, TeamRef};
use agent_team_protocol::{ErrorCode, Refusal};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::convert;
use crate::driver::{Change, Query, RequestKind};

/// The common fields of a call, before its arguments are decoded.
pub(super) struct Envelope<'a> {
    pub(super) team: Option<TeamRef>,
    pub(super) key: Option<String>,
    args: &'a RawValue,
    pub(super) digest: u64,
    method: &'a str,
}

impl<'a> Envelope<'a> {
    pub(super) fn read(method: &'a str, params: &'a RawValue) -> Result<Self, Refusal> {
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
            method,
        })
    }

    fn args<M: Method>(&self) -> Result<M::Args, Refusal> {
        self.parse()
    }

    fn parse<A: DeserializeOwned>(&self) -> Result<A, Refusal> {
        serde_json::from_str(self.args.get())
            .map_err(|error| Refusal::invalid_params(self.method, &error))
    }
}

/// Distinguishes calls with the same key by the method and its arguments as sent.
fn digest(method: &str, args: &str) -> u64 {
    stable_hash(method.bytes().chain([0]).chain(args.bytes()))
}

pub(super) enum Destination {
    Team(RequestKind),
    /// The list of teams, answered at once.
    Teams,
    Supervisor(SupervisorCall),
}

/// Calls about the supervisor as a whole. They can wait for several teams.
pub(super) enum SupervisorCall {
    Status,
    Up(Box<m::Up>),
    Delete,
    Stop,
    Restart,
}

pub(super) fn destination(method: &str, call: &Envelope<'_>) -> Result<Destination, Refusal> {
    let team_change = |change: Change| Ok(Destination::Team(RequestKind::Change(change)));
    let change = |call: Call| team_change(Change::Call(Box::new(call)));
    let read = |query: Query| Ok(Destination::Team(RequestKind::Query(query)));
    let supervisor_call =
        |supervisor_call: SupervisorCall| Ok(Destination::Supervisor(supervisor_call));
    let claim = |end: &m::EndTask| ClaimRef {
        task: end.task,
        generation: end.generation,
    };
    match method {
        m::TeamUp::NAME => supervisor_call(SupervisorCall::Up(Box::new(call.args::<m::TeamUp>()?))),
        m::TeamDown::NAME => change(Call::Down {
            force: call.args::<m::TeamDown>()?.force,
        }),
        m::TeamList::NAME => Ok(Destination::Teams),
        m::TeamShow::NAME => read(Query::ShowTeam),
        m::TeamBudget::NAME => {
            let m::SetBudget { member, budget } = call.args::<m::TeamBudget>()?;
            let budget = convert::budget(budget);
            change(Call::SetBudget { member, budget })
        }
        m::TeamDelete::NAME => supervisor_call(SupervisorCall::Delete),
        m::TeamWait::NAME => read(Query::Wait),
        m::TeamAttach::NAME => read(Query::Attach(call.args::<m::TeamAttach>()?)),
        m::PaneReopen::NAME => read(Query::Reopen(call.args::<m::PaneReopen>()?.member)),
        m::PaneHold::NAME => read(Query::Hold(call.args::<m::PaneHold>()?)),

        m::MemberSpawn::NAME => team_change(Change::Spawn(call.args::<m::MemberSpawn>()?)),
        m::MemberStop::NAME => {
            let m::Stop { member, force } = call.args::<m::MemberStop>()?;
            change(Call::Stop { member, force })
        }
        m::MemberRemove::NAME => {
            let m::RemoveMember { member, force } = call.args::<m::MemberRemove>()?;
            change(Call::Remove { member, force })
        }
        m::StopAnswer::NAME => change(Call::AnswerStop {
            objection: call.args::<m::StopAnswer>()?.objection.map(Into::into),
        }),
        m::MemberKill::NAME => change(Call::Kill {
            member: call.args::<m::MemberKill>()?.member,
        }),
        m::MemberRestart::NAME => change(Call::Restart {
            member: call.args::<m::MemberRestart>()?.member,
        }),
        m::MemberShow::NAME => read(Query::ShowMember(call.args::<m::MemberShow>()?.member)),
        m::MemberLog::NAME => read(Query::FindLog(call.args::<m::MemberLog>()?.member)),
        m::MemberExit::NAME => {
            let m::Exit { code, reason, hold } = call.args::<m::MemberExit>()?;
            change(Call::ReportExit { code, reason, hold })
        }

        m::MessageSend::NAME => {
            let m::SendMessage {
                to,
                text,
                urgent,
                reply_to,
                summary,
                wants_reply,
            } = call.args::<m::MessageSend>()?;
            let note = MessageNote {
                summary: summary.map(Into::into),
                wants_reply,
            };
            change(Call::Send {
                to,
                text: text.into(),
                urgent,
                reply_to,
                note,
            })
        }
        m::MessageRead::NAME => change(Call::Read {
            messages: call.args::<m::MessageRead>()?.messages,
        }),
        m::MessageList::NAME => read(Query::ListMessages(call.args::<m::MessageList>()?)),

        m::TaskAdd::NAME => {
            let spec = call.args::<m::TaskAdd>()?.spec;
            let after = convert::after(&spec.after);
            change(Call::AddTask {
                plan: convert::task_plan(spec),
                after,
                lines: Vec::new(),
            })
        }
        m::TaskList::NAME => read(Query::ListTasks(call.args::<m::TaskList>()?)),
        m::TaskShow::NAME => read(Query::ShowTask(call.args::<m::TaskShow>()?.task)),
        m::TaskUpdate::NAME => {
            let m::UpdateTask { task, changes } = call.args::<m::TaskUpdate>()?;
            change(Call::UpdateTask {
                task,
                changes: Box::new(convert::task_changes(changes)),
                lines: Vec::new(),
            })
        }
        m::TaskClaim::NAME => change(Call::ClaimTask {
            task: call.args::<m::TaskClaim>()?.task,
        }),
        m::TaskAssign::NAME => {
            let m::AssignTask { task, member } = call.args::<m::TaskAssign>()?;
            change(Call::AssignTask { task, member })
        }
        m::TaskComplete::NAME => {
            let end = call.args::<m::TaskComplete>()?;
            change(Call::CompleteTask {
                claim: claim(&end),
                result: end.text.into(),
                verdict: Verdict::Unasked,
            })
        }
        m::TaskFail::NAME => {
            let end = call.args::<m::TaskFail>()?;
            change(Call::FailTask {
                claim: claim(&end),
                reason: end.text.into(),
            })
        }
        m::TaskRelease::NAME => {
            let end = call.args::<m::TaskRelease>()?;
            change(Call::ReleaseTask {
                claim: claim(&end),
                note: end.text.into(),
            })
        }
        m::TaskRetry::NAME => change(Call::RetryTask {
            task: call.args::<m::TaskRetry>()?.task,
        }),
        m::TaskCancel::NAME => change(Call::CancelTask {
            task: call.args::<m::TaskCancel>()?.task,
        }),

        m::RunStart::NAME => {
            let m::StartRun {
                goal,
                then_down,
                anew,
                memory,
            } = call.args::<m::RunStart>()?;
            change(Call::StartRun {
                goal: goal.into(),
                then_down,
                anew,
                memory: memory
                    .into_iter()
                    .map(|(key, value)| (key.into(), value.get().into()))
                    .collect(),
            })
        }
        m::RunFinish::NAME => {
            let m::FinishRun { answer, force } = call.args::<m::RunFinish>()?;
            change(Call::FinishRun {
                answer: answer.into(),
                force,
            })
        }
        m::RunCancel::NAME => change(Call::CancelRun {
            reason: call.args::<m::RunCancel>()?.reason.into(),
        }),
        m::RunQuestion::NAME => read(Query::WaitForQuestion),
        m::RunReply::NAME => {
            let m::ReplyToRun { run, round, text } = call.args::<m::RunReply>()?;
            change(Call::ReplyToQuestion {
                run,
                round,
                text: text.into(),
            })
        }
        m::RunRounds::NAME => read(Query::ListRounds(call.args::<m::RunRounds>()?)),
        m::RunWait::NAME => read(Query::WaitForRun(call.args::<m::RunWait>()?.run)),

        m::RequestAsk::NAME => team_change(Change::Ask(Box::new(call.args::<m::RequestAsk>()?))),
        m::PlanPropose::NAME => team_change(Change::Propose(call.args::<m::PlanPropose>()?)),
        m::RequestWait::NAME => read(Query::WaitForRequest(
            call.args::<m::RequestWait>()?.request,
        )),
        m::RequestBegin::NAME => change(Call::BeginRequest {
            request: call.args::<m::RequestBegin>()?.request,
        }),
        m::RequestEnd::NAME => change(Call::EndRequest {
            request: call.args::<m::RequestEnd>()?.request,
        }),
        m::RequestWithdraw::NAME => change(Call::WithdrawRequest {
            request: call.args::<m::RequestWithdraw>()?.request,
        }),
        m::RequestList::NAME => read(Query::ListRequests(call.args::<m::RequestList>()?)),
        m::RequestShow::NAME => read(Query::ShowRequest(call.args::<m::RequestShow>()?.request)),
        m::RequestDecide::NAME => {
            team_change(Change::Decide(Box::new(call.args::<m::RequestDecide>()?)))
        }

        m::RuleList::NAME => read(Query::ListRules),
        m::RuleCheck::NAME => read(Query::CheckRules(Box::new(call.args::<m::RuleCheck>()?))),
        m::RuleForget::NAME => team_change(Change::ForgetRule(call.args::<m::RuleForget>()?.rule)),
        m::RuleRevoke::NAME => change(Call::RevokeGrant {
            request: call.args::<m::RuleRevoke>()?.request,
        }),

        m::TranscriptAppend::NAME => change(Call::Append(convert::growth(
            call.args::<m::TranscriptAppend>()?,
        )?)),
        m::TranscriptRead::NAME => read(Query::ReadTranscript(call.args::<m::TranscriptRead>()?)),

        m::MemoryPut::NAME => {
            let m::PutMemory { key, value } = call.args::<m::MemoryPut>()?;
            change(Call::Remember {
                key: key.into(),
                value: value.get().into(),
            })
        }
        m::MemoryGet::NAME => read(Query::Recall(call.args::<m::MemoryGet>()?)),

        m::EventSubscribe::NAME => read(Query::Subscribe(call.args::<m::EventSubscribe>()?)),

        m::SupervisorStatus::NAME => supervisor_call(SupervisorCall::Status),
        m::SupervisorStop::NAME => supervisor_call(SupervisorCall::Stop),
        m::SupervisorRestart::NAME => supervisor_call(SupervisorCall::Restart),

        _ => Err(Refusal::new(
            ErrorCode::MethodNotFound,
            format!("unknown method {method}"),
        )),
    }
}
