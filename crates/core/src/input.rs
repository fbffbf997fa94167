//! What happens to a team.

use std::sync::Arc;

use agent_team_protocol::id::{
    Generation, LaunchId, MemberName, MessageId, Recipient, RequestId, RoleName, RunId, TaskId,
};

use crate::answers::CallKey;
use crate::budget::Budget;
use crate::mail::MessageNote;
use crate::member::ProcessStamp;
use crate::plan::{FileTask, MemberPlan, TaskPlan, TeamPlan};
use crate::request::Scope;
use crate::run::{Memory, Spent};

/// The driver's own name for one waiting caller. Never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(pub u64);

/// A past fact that reached the driver. Those that name a launch are dropped when it is no longer current.
#[derive(Debug, Clone)]
pub enum Input {
    /// A supervisor has this team from now on, on this boot of the machine.
    Resumed {
        boot: Arc<str>,
    },
    Called {
        by: Origin,
        key: Option<CallKey>,
        reply: ReplyTo,
        call: Box<Call>,
    },
    /// The settings of a member, or of its team, cannot be read by this version: the member is held.
    Unreadable {
        member: MemberName,
        reason: Arc<str>,
    },
    /// The launch's worker connected and showed its token.
    SaidHello {
        launch: LaunchId,
        process: ProcessStamp,
    },
    /// The launch's process is gone.
    Exited {
        launch: LaunchId,
    },
    /// It was not started, or nobody took its launch file.
    NotStarted {
        launch: LaunchId,
        fault: StartFault,
    },
    /// No process of the launch is left.
    TreeGone {
        launch: LaunchId,
    },
    /// Its frames have gone unanswered.
    Unresponsive {
        launch: LaunchId,
    },
    /// A caller that waits for the run was told that it cannot end by itself any more, for this reason.
    RunStuck {
        run: RunId,
        reason: String,
    },
    /// The idle hook wants her to go on, for this reason.
    IdleRefused {
        launch: LaunchId,
        reason: String,
    },
    DeadlineReached,
}

#[derive(Debug, Clone)]
pub enum StartFault {
    /// Starting failed, as this says.
    Failed(String),
    /// Trying again cannot help, as this says.
    Unfit(String),
    /// The last supervisor died before it started anything: this one may simply start again.
    Untaken,
}

/// Who calls, as the connection says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    User,
    Member { name: MemberName, launch: LaunchId },
}

/// What is asked for.
#[derive(Debug, Clone)]
pub enum Call {
    Up(Box<UpPlan>),
    Down {
        force: bool,
    },
    Spawn {
        plan: MemberPlanByHand,
    },
    /// She may object, unless it is forced.
    Stop {
        member: MemberName,
        force: bool,
    },
    /// What she who was asked to end says. `None`: that she will.
    AnswerStop {
        objection: Option<Arc<str>>,
    },
    /// Stops it and takes it off the roster.
    Remove {
        member: MemberName,
        force: bool,
    },
    Kill {
        member: MemberName,
    },
    Restart {
        member: MemberName,
    },
    LastWords {
        code: i32,
        reason: String,
        hold: bool,
    },
    Send {
        to: Recipient,
        text: Arc<str>,
        urgent: bool,
        reply_to: Option<MessageId>,
        note: MessageNote,
    },
    Read {
        messages: Vec<MessageId>,
    },
    AddTask {
        plan: TaskPlan,
        after: Vec<After>,
        /// Of a member's plan. The user's own lines need no permission.
        lines: Vec<TaskLine>,
    },
    UpdateTask {
        task: TaskId,
        changes: Box<TaskChanges>,
        lines: Vec<TaskLine>,
    },
    /// `None`: the best that the caller may take.
    ClaimTask {
        task: Option<TaskId>,
    },
    AssignTask {
        task: TaskId,
        member: MemberName,
    },
    CompleteTask {
        claim: ClaimRef,
        result: Arc<str>,
        verdict: Verdict,
    },
    FailTask {
        claim: ClaimRef,
        reason: Arc<str>,
    },
    ReleaseTask {
        claim: ClaimRef,
        note: Arc<str>,
    },
    RetryTask {
        task: TaskId,
    },
    CancelTask {
        task: TaskId,
    },
    StartRun {
        goal: Arc<str>,
        then_down: bool,
        anew: bool,
        memory: Memory,
    },
    FinishRun {
        answer: Arc<str>,
        force: bool,
    },
    CancelRun {
        reason: Arc<str>,
    },
    /// What the lead's model says to the question of a round.
    ReplyToQuestion {
        run: RunId,
        round: u32,
        text: Arc<str>,
    },
    Append(Growth),
    Remember {
        key: Arc<str>,
        value: Arc<str>,
    },
    /// May I do this?
    Ask {
        digest: Arc<str>,
        /// JSON of the call.
        call: Arc<str>,
        /// It does more than look.
        changes: bool,
        ruling: Ruling,
    },
    /// Somebody is to approve a plan.
    Propose {
        digest: Arc<str>,
        /// JSON of the plan as a call, to be shown like one.
        call: Arc<str>,
    },
    Decide {
        request: RequestId,
        decree: Decree,
        /// Others that wait and that it covers, as the policy says.
        covers: Vec<RequestId>,
        /// What the person decides with.
        via: Option<Arc<str>>,
    },
    BeginRequest {
        request: RequestId,
    },
    EndRequest {
        request: RequestId,
    },
    WithdrawRequest {
        request: RequestId,
    },
    /// What the decision of this request granted holds no longer.
    RevokeGrant {
        request: RequestId,
    },
    /// The team's settings, of which the core knows nothing, are these from now on.
    Settle {
        settings: Arc<str>,
    },
    /// The member's limits, or the team's.
    SetBudget {
        member: Option<MemberName>,
        budget: Budget,
    },
}

/// A shell line that a call writes into a task, and what the policy says to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskLine {
    pub line: Arc<str>,
    /// Of the request in which a member asks for it.
    pub digest: Arc<str>,
    /// Whether nobody has to be asked.
    pub allowed: bool,
}

/// What the policy says to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    Allow {
        why: Arc<str>,
    },
    Deny {
        why: Arc<str>,
    },
    /// Somebody has to decide.
    Ask,
}

/// What somebody says to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decree {
    /// Without rules exactly this call.
    Allow {
        scope: Scope,
        rules: Vec<Arc<str>>,
        /// The person lets the lead allow this, as the policy says.
        delegated: bool,
    },
    Deny {
        reason: Arc<str>,
    },
}

/// What a member's model saw and said.
#[derive(Debug, Clone, Default)]
pub struct Growth {
    /// Each as JSON, which the core never looks into.
    pub items: Vec<Arc<str>>,
    /// Messages that are among the items.
    pub read: Vec<MessageId>,
    pub spent: Spent,
    /// Her turn ends, with these last words.
    pub rests: Option<Arc<str>>,
}

/// A claim; without a generation the current one, which only the user may mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimRef {
    pub task: TaskId,
    pub generation: Option<Generation>,
}

/// What the hook between "asked to complete" and "completed" says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Unasked,
    Passed,
    Refused(String),
}

/// A whole team as its file describes it.
#[derive(Debug, Clone)]
pub struct UpPlan {
    pub team: TeamPlan,
    pub members: Vec<MemberPlan>,
    pub tasks: Vec<FileTask>,
}

/// A member to be spawned: without a name she gets her role's next number.
#[derive(Debug, Clone)]
pub struct MemberPlanByHand {
    pub name: Option<MemberName>,
    pub role: RoleName,
    /// The rest; its name and role are not looked at.
    pub like: MemberPlan,
}

/// A dependency as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    Task(TaskId),
    Key(Arc<str>),
}

/// What is left out stays as it is.
#[derive(Debug, Clone, Default)]
pub struct TaskChanges {
    pub title: Option<Arc<str>>,
    pub description: Option<Arc<str>>,
    pub priority: Option<i32>,
    pub labels: Option<Vec<Arc<str>>>,
    pub after: Option<Vec<After>>,
    /// `Some(None)` clears it, as with the other nested options.
    pub role: Option<Option<RoleName>>,
    pub assignee: Option<Option<MemberName>>,
    pub files: Option<Vec<Arc<str>>>,
    pub run: Option<Option<Arc<str>>>,
    pub verify: Option<Option<Arc<str>>>,
    pub rerun: Option<bool>,
    pub active_form: Option<Arc<str>>,
    pub metadata: Option<Arc<str>>,
}
