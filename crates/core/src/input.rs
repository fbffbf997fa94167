//! The inputs of a team: facts reported by the driver, and calls of members and of the user.

use std::sync::Arc;

use agent_team_protocol::id::{
    Generation, LaunchId, MemberName, MessageId, Recipient, RequestId, RoleName, RunId, TaskId,
};
use agent_team_protocol::value::{Budget, Effort, MessageNote, Mode, ProcessStamp, Scope, Usage};

use crate::refusal::Refused;
use crate::team::answers::CallKey;
use crate::team::memory::Memory;
use crate::team::spec::{FileTask, MemberSpec, TaskSpec, TeamSpec};

/// The driver's id for one caller that waits for an answer. The id is never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(pub u64);

/// A fact or a call that reached the driver. A fact about a launch that is no longer current is dropped; a call from
/// such a launch is refused.
#[derive(Debug, Clone)]
pub enum Input {
    /// A supervisor adopted this team, on this boot of the machine.
    Resumed {
        boot: Arc<str>,
    },
    Called {
        by: Origin,
        key: Option<CallKey>,
        reply: ReplyTo,
        call: Box<Call>,
    },
    /// This version cannot read the settings of the member or of its team: the member is held.
    UnreadableSettings {
        member: MemberName,
        reason: Arc<str>,
    },
    /// The launch's worker connected and presented its token.
    HelloReceived {
        launch: LaunchId,
        process: ProcessStamp,
    },
    /// The worker's process exited.
    Exited {
        launch: LaunchId,
        exit: ProcessExit,
    },
    /// The worker was not started, or no process took its launch file.
    NotStarted {
        launch: LaunchId,
        fault: StartFault,
    },
    /// No process of the launch is left.
    TreeGone {
        launch: LaunchId,
    },
    /// The worker has left frames unanswered.
    Unresponsive {
        launch: LaunchId,
    },
    /// The run cannot end by itself, for this reason, and a caller waits for it.
    RunStuck {
        run: RunId,
        reason: String,
    },
    /// The idle hook requires that the member continues, for this reason.
    IdleRefused {
        launch: LaunchId,
        reason: String,
    },
    DeadlineReached,
}

/// How a worker's process exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessExit {
    /// The supervisor cannot determine how the process exited.
    Unknown,
    Status(i32),
    Signal(i32),
}

#[derive(Debug, Clone)]
pub enum StartFault {
    /// Starting failed with this error.
    Failed(String),
    /// Another attempt cannot succeed, for this reason.
    Permanent(String),
    /// The previous supervisor died before it started anything, so starting again is safe.
    NeverStarted,
}

/// The caller, as its connection identifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    User,
    Member { name: MemberName, launch: LaunchId },
}

impl Origin {
    /// The calling member and its launch.
    pub(crate) fn member(&self) -> Result<(&MemberName, &LaunchId), Refused> {
        match self {
            Self::Member { name, launch } => Ok((name, launch)),
            Self::User => Err(Refused::MemberOnly),
        }
    }
}

/// The calls that a client or a member can make.
#[derive(Debug, Clone)]
pub enum Call {
    Up(Box<UpSpec>),
    Down {
        force: bool,
    },
    Spawn {
        spec: SpawnSpec,
    },
    /// The member may object, unless `force` is set.
    Stop {
        member: MemberName,
        force: bool,
    },
    /// The member's reply to a stop request. `None`: it agrees.
    AnswerStop {
        objection: Option<Arc<str>>,
    },
    /// Stops the member and removes it from the team.
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
    ReportExit {
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
        spec: TaskSpec,
        after: Vec<After>,
        /// The shell lines of `spec`, if a member adds the task. The user's own lines need no permission.
        lines: Vec<TaskLine>,
    },
    UpdateTask {
        task: TaskId,
        changes: Box<TaskChanges>,
        lines: Vec<TaskLine>,
    },
    /// `None`: the best task that the caller may claim.
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
        hook: CompletionHook,
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
    StartRun(NewRun),
    FinishRun {
        answer: Arc<str>,
        force: bool,
    },
    CancelRun {
        reason: Arc<str>,
    },
    /// The reply of the lead's model to the question of a round.
    ReplyToQuestion {
        run: RunId,
        round: u32,
        text: Arc<str>,
    },
    Append(TurnProgress),
    Remember {
        key: Arc<str>,
        value: Arc<str>,
    },
    /// Ask for permission to run a call.
    Ask {
        digest: Arc<str>,
        /// The call as JSON.
        call: Arc<str>,
        /// The call can change something.
        changes: bool,
        ruling: Ruling,
    },
    /// Propose a plan for approval.
    Propose {
        digest: Arc<str>,
        /// The plan as the JSON of a call. Clients show it like a call.
        call: Arc<str>,
    },
    Decide {
        request: RequestId,
        decision: RequestDecision,
        /// The other pending requests that this decision covers, according to the policy.
        covers: Vec<RequestId>,
        /// The program in which the user made the decision.
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
        /// Whether the user allowed the call. Set only if the user decided in the agent's own terminal interface.
        allowed_in_agent: Option<bool>,
    },
    /// Revoke the grant that the decision of this request created.
    RevokeGrant {
        request: RequestId,
    },
    /// Replace the team's settings, which the core does not read.
    ReplaceSettings {
        settings: Arc<str>,
    },
    /// Set the permission mode of the member, or of the whole team.
    SetMode {
        member: Option<MemberName>,
        mode: Mode,
    },
    /// Set the limits of the member, or of the team.
    SetBudget {
        member: Option<MemberName>,
        budget: Budget,
    },
}

/// A shell line that a call writes into a task, with the policy's verdict on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskLine {
    pub line: Arc<str>,
    /// Digest of the request with which a member asks for this line.
    pub digest: Arc<str>,
    /// Whether the line is allowed without a request.
    pub allowed: bool,
}

/// The policy's verdict on a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    Allow {
        why: Arc<str>,
    },
    Deny {
        why: Arc<str>,
    },
    /// The call needs a decision of the user, or of the lead if the user delegated it.
    Ask,
}

/// A decision about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestDecision {
    /// Without rules, the decision allows exactly this call.
    Allow {
        scope: Scope,
        rules: Vec<Arc<str>>,
        /// The user delegated this decision to the lead, according to the policy.
        delegated: bool,
    },
    Deny {
        reason: Arc<str>,
    },
}

/// A run to start.
#[derive(Debug, Clone, Default)]
pub struct NewRun {
    pub goal: Arc<str>,
    /// Stop the team when the run has ended.
    pub then_down: bool,
    /// If another run is under way, abandon it.
    pub anew: bool,
    pub memory: Memory,
    pub effort: Option<Effort>,
    /// See [`MessageNote::attach_outside`].
    pub attach_outside: bool,
}

/// The progress of a turn: what a member's model received and what it replied.
#[derive(Debug, Clone, Default)]
pub struct TurnProgress {
    /// New items of the transcript, each as JSON. The core never parses the JSON.
    pub items: Vec<Arc<str>>,
    /// Messages contained in the items.
    pub read: Vec<MessageId>,
    pub spent: Usage,
    /// The files that the model's calls have changed.
    pub changed: Vec<Arc<str>>,
    /// If set, the member's turn has ended, with this last text.
    pub turn_end: Option<Arc<str>>,
    /// Why the turn could not continue. Set only together with `turn_end`.
    pub failure: Option<Arc<str>>,
}

/// Identifies a claim. `generation: None` means the current claim; only the user may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimRef {
    pub task: TaskId,
    pub generation: Option<Generation>,
}

/// The result of the hook that runs before a task counts as completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompletionHook {
    NotRun,
    Passed,
    Refused(String),
}

/// A whole team as its file describes it.
#[derive(Debug, Clone)]
pub struct UpSpec {
    pub team: TeamSpec,
    pub members: Vec<MemberSpec>,
    pub tasks: Vec<FileTask>,
}

/// A member to spawn. A member without a name is named after its role, with the next number.
#[derive(Debug, Clone)]
pub struct SpawnSpec {
    pub name: Option<MemberName>,
    pub role: RoleName,
    /// The other fields of the spec. The fields `name`, `role`, `lead` and `by_hand` of this value are ignored.
    pub like: MemberSpec,
}

/// A dependency as written by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    Task(TaskId),
    Key(Arc<str>),
}

/// Changes to a task. A field that is `None` does not change.
#[derive(Debug, Clone, Default)]
pub struct TaskChanges {
    pub title: Option<Arc<str>>,
    pub description: Option<Arc<str>>,
    pub priority: Option<i32>,
    pub labels: Option<Vec<Arc<str>>>,
    pub after: Option<Vec<After>>,
    /// `Some(None)` clears the field; the other nested options do the same.
    pub role: Option<Option<RoleName>>,
    pub assignee: Option<Option<MemberName>>,
    pub files: Option<Vec<Arc<str>>>,
    pub run: Option<Option<Arc<str>>>,
    pub verify: Option<Option<Arc<str>>>,
    pub rerun: Option<bool>,
    pub active_form: Option<Arc<str>>,
    pub metadata: Option<Arc<str>>,
}
