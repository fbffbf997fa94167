//! Refusals: the errors of calls. A refused call changed nothing, except that a completion refused by a hook is
//! counted. The supervisor maps each refusal to an error code and a hint.

use agent_team_protocol::command_line::LEAD_NOT_AGENT;
use agent_team_protocol::id::{Generation, MemberName, MessageId, Party, RequestId, RunId, TaskId};

/// The refusal for a member that has no approved plan and must have one.
pub const PLAN_FIRST: &str = "a plan must be approved before anything is changed";

/// A refused call. The text is shown to users and models: lower case, no final stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no member called {0}")]
    UnknownMember(String),
    #[error("this team has no lead")]
    NoLead,
    #[error("the team has no other running member to receive the message")]
    NoRecipient,
    #[error("there is no message {0}")]
    UnknownMessage(MessageId),
    #[error("there is no task {0}")]
    UnknownTask(TaskId),
    #[error("{dependent} depends on {unknown}, which does not exist")]
    UnknownDependency { dependent: String, unknown: String },
    #[error("dependencies form a cycle: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    #[error("two {what} are called {name}")]
    Duplicate { what: &'static str, name: String },
    #[error("{0} is a reserved name")]
    ReservedName(MemberName),
    #[error("a team has one lead")]
    TwoLeads,
    #[error("a member called {0} already exists")]
    NameTaken(MemberName),
    #[error("{0} is defined in the team file")]
    InTeamFile(MemberName),
    #[error(
        "the team would have {wanted} teammates that are not stopped, and its limit is {limit}"
    )]
    TooManyMembers { wanted: usize, limit: u32 },
    #[error("{what} is {bytes} bytes long, and the limit is {limit}")]
    TooLarge {
        what: Oversized,
        bytes: usize,
        limit: usize,
    },
    #[error("a task needs a title")]
    NoTitle,
    #[error("the inbox of {0} is full")]
    InboxFull(MemberName),
    #[error("{task} is already claimed by {owner}")]
    AlreadyClaimed { task: TaskId, owner: Party },
    #[error("there is no request {0}")]
    UnknownRequest(RequestId),
    #[error("{0} has no grant to revoke")]
    UnknownGrant(RequestId),
    #[error("{request} {how}")]
    Decided { request: RequestId, how: String },
    #[error("cannot carry out {request}: it {how}")]
    NotAllowed { request: RequestId, how: String },
    #[error("rules need a wider scope than `once`")]
    RulesForOnce,
    #[error("the scope `always` needs rules")]
    AlwaysWithoutRules,
    #[error("the scope `task` needs a task, and {0} has none")]
    NoTask(MemberName),
    #[error("a plan can be approved only with the scope `once` and without rules")]
    ApprovedOnce,
    #[error("{PLAN_FIRST}")]
    PlanFirst,
    #[error("{0} needs no plan")]
    NeedsNoPlan(MemberName),
    #[error("this member already has {0} pending requests")]
    TooManyRequests(usize),
    #[error("{task} waits for {}", list(by))]
    Blocked { task: TaskId, by: Vec<TaskId> },
    #[error("{task} is {state}, so it cannot be {wanted}")]
    WrongState {
        task: TaskId,
        state: StateName,
        wanted: &'static str,
    },
    #[error("the claim on {task} is stale: the current generation is {}", current.0)]
    StaleClaim { task: TaskId, current: Generation },
    #[error("{task} belongs to {owner}")]
    NotOwner { task: TaskId, owner: Party },
    #[error("{task} is for {wanted}")]
    NotClaimable { task: TaskId, wanted: String },
    #[error("{0} takes no tasks: its pane shows a program that knows nothing of the team")]
    TakesNoTasks(MemberName),
    #[error("{member} holds {task} already")]
    HasClaim { member: MemberName, task: TaskId },
    #[error("no task is ready to claim")]
    NothingToClaim,
    #[error("a hook refused the completion of {task}: {reason}")]
    CompletionRefused { task: TaskId, reason: String },
    #[error("the key {0:?} was used for another call")]
    KeyReused(String),
    #[error("cannot start another goal: {run} is under way: {goal}")]
    RunUnderWay { run: RunId, goal: String },
    #[error("{LEAD_NOT_AGENT}")]
    LeadNotAgent,
    #[error("no goal is in progress")]
    NoRun,
    #[error("{0} is not waiting for a reply to round {1}")]
    NotAsked(RunId, u32),
    #[error("these tasks are not finished: {}{}", list(named), and_more(*more))]
    TasksOpen { named: Vec<TaskId>, more: usize },
    #[error("{0} does not use a model, so it cannot have a budget")]
    NoBudget(MemberName),
    #[error("there is no stop request to answer")]
    NoStopRequest,
    #[error("only the lead may {0}")]
    LeadOnly(&'static str),
    #[error("only the user may {0}")]
    UserOnly(&'static str),
    #[error("the team's memory is full: the limit is {0} keys")]
    MemoryFull(usize),
    #[error("the shell line {0:?} is not approved")]
    LineNotAllowed(String),
    #[error("only the user may {0}")]
    NotPermitted(&'static str),
    #[error("only a member may do this")]
    MemberOnly,
    #[error("this launch has ended or is stopping")]
    StaleLaunch,
    #[error("the team is stopping: no task can be claimed")]
    TeamStopping,
    #[error("{0} is stopping: it cannot claim a task")]
    MemberStopping(MemberName),
}

/// The kind of a value that exceeds its limit. Some kinds have their own error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Oversized {
    #[error("the message")]
    Message,
    #[error("the message's summary")]
    MessageSummary,
    #[error("the result")]
    Result,
    #[error("{0}")]
    Other(&'static str),
}

impl From<&'static str> for Oversized {
    fn from(what: &'static str) -> Self {
        Self::Other(what)
    }
}

/// The state of a task that does not allow a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateName {
    #[error("pending")]
    Pending,
    #[error("in progress")]
    InProgress,
    #[error("completed")]
    Completed,
    #[error("failed")]
    Failed,
    #[error("cancelled")]
    Cancelled,
}

fn and_more(more: usize) -> String {
    if more == 0 {
        String::new()
    } else {
        format!(" and {more} more")
    }
}

fn list(tasks: &[TaskId]) -> String {
    tasks
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
