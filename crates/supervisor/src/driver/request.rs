//! Decoded requests to one team's driver, as the server hands them over: changes, which the core decides, and
//! queries, which are answered from the state once everything before them is stored.

use agent_team_core::{Call, Caller, Origin};
use agent_team_protocol::method::{
    Attach, GetMemory, HoldPane, ListMessages, ListRounds, ListTasks, ReadTranscript, Spawn,
    Subscribe,
};
use agent_team_protocol::request::{
    AskRequest, DecideRequest, Decision, ListRequests, ProposePlan,
};
use agent_team_protocol::rule::CheckRules;
use agent_team_protocol::spec::TeamSpec;
use agent_team_protocol::{MemberName, RequestId, RunId, TaskId};

use super::history_reader::ReadPermit;
use crate::environment::Environment;
use crate::outbox::Reply;
use crate::settings::TeamPlacement;

/// One call for one team.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) by: Origin,
    /// The scope of the idempotency key: the launch or the client that repeats it.
    pub(crate) caller: Caller,
    pub(crate) key: Option<String>,
    /// Hash of the method and its arguments.
    pub(crate) digest: u64,
    pub(crate) reply: Reply,
    pub(crate) kind: RequestKind,
}

#[derive(Debug)]
pub(crate) enum RequestKind {
    Change(Change),
    Query(Query),
}

#[derive(Debug)]
pub(crate) enum Change {
    /// A call that the core takes as it is.
    Call(Box<Call>),
    Up(Box<UpRequest>),
    Spawn(Spawn),
    Ask(Box<AskRequest>),
    Propose(ProposePlan),
    Decide(Box<DecideRequest>),
    ForgetRule(String),
}

#[derive(Debug)]
pub(crate) enum Query {
    ShowTeam,
    ShowMember(MemberName),
    FindLog(MemberName),
    ListMessages(ListMessages),
    ListTasks(ListTasks),
    /// `ListTasks` after it received a permit to read history.
    ReadTasks(ListTasks, ReadPermit),
    ShowTask(TaskId),
    Wait,
    WaitForRun(RunId),
    WaitForQuestion,
    WaitForRequest(RequestId),
    ListRequests(ListRequests),
    ShowRequest(RequestId),
    ListRules,
    CheckRules(Box<CheckRules>),
    ListRounds(ListRounds),
    ReadTranscript(ReadTranscript),
    Recall(GetMemory),
    Attach(Attach),
    Reopen(Option<MemberName>),
    Hold(HoldPane),
    Subscribe(Subscribe),
}

/// An `up` request: the team specification and the parameters that are not part of the team file.
#[derive(Debug)]
pub(crate) struct UpRequest {
    pub(crate) spec: TeamSpec,
    pub(crate) environment: Environment,
    pub(crate) team_placement: TeamPlacement,
    pub(crate) dry_run: bool,
}

impl RequestKind {
    /// Whether the request ends something. Such requests are accepted even when the disk is full.
    pub(super) fn is_urgent(&self) -> bool {
        match self {
            Self::Change(Change::Call(call)) => matches!(
                **call,
                Call::Stop { .. }
                    | Call::Remove { .. }
                    | Call::Kill { .. }
                    | Call::Down { .. }
                    | Call::ReportExit { .. }
            ),
            Self::Change(Change::Decide(decide)) => {
                !matches!(decide.decision, Decision::Allow { .. })
            }
            Self::Change(Change::ForgetRule(_)) => true,
            Self::Change(
                Change::Up(_) | Change::Spawn(_) | Change::Ask(_) | Change::Propose(_),
            )
            | Self::Query(_) => false,
        }
    }
}
