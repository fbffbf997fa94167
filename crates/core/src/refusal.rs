//! Why a call changes nothing, said to a person.

use agent_team_protocol::id::{Generation, MemberName, MessageId, Party, RequestId, RunId, TaskId};

/// Said to a member that is locked.
pub const PLAN_FIRST: &str = "a plan must be approved before anything is changed";

/// A refusal. Its text is a sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no member called {0}")]
    UnknownMember(String),
    #[error("this team has no lead")]
    NoLead,
    #[error("nobody is there to read it")]
    NobodyToTell,
    #[error("there is no message {0}")]
    UnknownMessage(MessageId),
    #[error("there is no task {0}")]
    UnknownTask(TaskId),
    #[error("{dependent} depends on {unknown}, which is not there")]
    UnknownDependency { dependent: String, unknown: String },
    #[error("these depend on each other in a circle: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    #[error("two {what} are called {name}")]
    Duplicate { what: &'static str, name: String },
    #[error("{0} is a reserved name")]
    ReservedName(MemberName),
    #[error("a team has one lead")]
    TwoLeads,
    #[error("a member called {0} is there already")]
    NameTaken(MemberName),
    #[error("{0} is a member of the team file")]
    OfTheFile(MemberName),
    #[error(
        "the team would have {wanted} teammates that are not stopped, and its limit is {limit}"
    )]
    TooManyMembers { wanted: usize, limit: u32 },
    #[error("{what} is {bytes} bytes long, and the limit is {limit}")]
    TooLarge {
        what: &'static str,
        bytes: usize,
        limit: usize,
    },
    #[error("a task needs a title")]
    NoTitle,
    #[error("the inbox of {0} is full")]
    InboxFull(MemberName),
    #[error("{task} belongs to {owner} already")]
    AlreadyClaimed { task: TaskId, owner: Party },
    #[error("there is no request {0}")]
    UnknownRequest(RequestId),
    #[error("{0} grants nothing")]
    UnknownGrant(RequestId),
    #[error("{request} {how}")]
    Decided { request: RequestId, how: String },
    #[error("{request} may not be carried out: it {how}")]
    NotAllowed { request: RequestId, how: String },
    #[error("a rule reaches further than once")]
    RulesForOnce,
    #[error("only rules hold always")]
    AlwaysWithoutRules,
    #[error("{0} has no task that this could end with")]
    NoTask(MemberName),
    #[error("a plan is approved once, and for itself alone")]
    ApprovedOnce,
    #[error("{PLAN_FIRST}")]
    PlanFirst,
    #[error("{0} needs no plan")]
    NeedsNoPlan(MemberName),
    #[error("{0} requests of this member wait already")]
    TooManyRequests(usize),
    #[error("{task} waits for {}", list(by))]
    Blocked { task: TaskId, by: Vec<TaskId> },
    #[error("{task} is {state}, so it cannot be {wanted}")]
    WrongState {
        task: TaskId,
        state: &'static str,
        wanted: &'static str,
    },
    #[error("{task} was claimed again since: the current generation is {}", current.0)]
    StaleClaim { task: TaskId, current: Generation },
    #[error("{task} belongs to {owner}")]
    NotOwner { task: TaskId, owner: Party },
    #[error("{task} is for {wanted}")]
    NotForYou { task: TaskId, wanted: String },
    #[error("{member} holds {task} already")]
    HasClaim { member: MemberName, task: TaskId },
    #[error("no task is ready to be taken")]
    NothingToClaim,
    #[error("a hook refused the completion of {task}: {reason}")]
    CompletionRefused { task: TaskId, reason: String },
    #[error("the key {0:?} was used for another call")]
    KeyReused(String),
    #[error("{0} is under way")]
    RunUnderWay(RunId),
    #[error("no run is under way")]
    NoRun,
    #[error("{0} does not wait for a reply to round {1}")]
    NotAsked(RunId, u32),
    #[error("these tasks are not finished: {}{}", list(named), and_more(*more))]
    TasksOpen { named: Vec<TaskId>, more: usize },
    #[error("{0} asks no model, and so has nothing to spend")]
    SpendsNothing(MemberName),
    #[error("nobody asks you to end")]
    NotAskedToEnd,
    #[error("only the lead may {0}")]
    LeadOnly(&'static str),
    #[error("the team remembers {0} things already, which is the limit")]
    MemoryFull(usize),
    #[error("nobody has allowed the shell line {0:?}")]
    LineNotAllowed(String),
    #[error("only the user may {0}")]
    NotPermitted(&'static str),
    #[error("this launch is over")]
    StaleLaunch,
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
