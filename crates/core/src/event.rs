//! Past facts: the only things that change a team, and the journal's format.
//!
//! Events carry absolute values (a generation, a count, a deadline), never differences, so that a snapshot is itself
//! a list of events. The format is frozen per version in `tests/fixtures/journal/`: variants and fields are added,
//! never renamed or taken away.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::{
    Generation, LaunchId, MemberName, MessageId, Party, RequestId, Revision, RunId, TaskId,
};

use crate::answers::AnsweredCall;
use crate::budget::{Account, Measure, Standing};
use crate::lock::{Lock, Proposed};
use crate::mail::{Lane, MessageNote};
use crate::member::{Asked, Next, ProcessStamp, Then};
use crate::plan::{MemberPlan, TaskPlan, TeamPlan};
use crate::request::{Grant, Request, Scope};
use crate::restarts::Restarts;
use crate::round::{Decision, RoundEnd};
use crate::run::{Failure, Mind, Spent};
use crate::task::{Outcome, Task, is_default};
use crate::time::{Tick, TokenHash};

/// One entry of the journal. Its revision is its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Unix time in milliseconds.
    pub at: u64,
    pub tick: Tick,
    pub event: Event,
    /// The call that this event completes, so that its answer is stored with its effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Box<AnsweredCall>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum Event {
    TeamPlanned {
        plan: TeamPlan,
    },
    /// The machine has started since: every recorded process is gone, every tick is void.
    Booted {
        boot: Arc<str>,
    },

    MemberAdded {
        plan: MemberPlan,
    },
    MemberChanged {
        plan: MemberPlan,
    },
    MemberRemoved {
        member: MemberName,
    },
    /// She is to run, and has no launch.
    MemberWanted {
        member: MemberName,
    },
    LaunchStarted {
        member: MemberName,
        launch: LaunchId,
        token_hash: TokenHash,
        give_up_at: Tick,
    },
    /// Her process said hello.
    LaunchReady {
        member: MemberName,
        launch: LaunchId,
        process: ProcessStamp,
    },
    /// She is in a turn, and was asked to end.
    LaunchAsked {
        member: MemberName,
        launch: LaunchId,
        asked: Asked,
    },
    /// She does not want to end, and goes on.
    LaunchObjected {
        member: MemberName,
        launch: LaunchId,
        reason: Arc<str>,
    },
    /// She ends, and is given until `kill_at`.
    LaunchDraining {
        member: MemberName,
        launch: LaunchId,
        kill_at: Tick,
        then: Then,
    },
    /// Her process is dead or to be killed: her whole tree is being ended.
    LaunchEnding {
        member: MemberName,
        launch: LaunchId,
        reason: Arc<str>,
        then: Then,
    },
    /// No process of hers is left.
    LaunchEnded {
        member: MemberName,
        launch: LaunchId,
        restarts: Restarts,
        next: Next,
    },
    /// Without a launch, she is to stay as this from now on.
    MemberParked {
        member: MemberName,
        next: Next,
    },
    /// Spawned members end with the team: the next `up` starts them again.
    MembersSuspended {
        members: Vec<MemberName>,
    },
    /// She has nothing to do and found nothing to take.
    MemberIdle {
        member: MemberName,
    },

    TaskAdded {
        task: TaskId,
        plan: TaskPlan,
        created_by: Party,
    },
    TaskChanged {
        task: TaskId,
        plan: TaskPlan,
    },
    TaskClaimed {
        task: TaskId,
        owner: Party,
        generation: Generation,
        attempts: u32,
    },
    /// `taken_from` is the member it was taken away from: she does not take it again by herself.
    TaskReleased {
        task: TaskId,
        note: Arc<str>,
        taken_from: Option<MemberName>,
        /// How often its owners have released it since it was added or last retried.
        #[serde(default, skip_serializing_if = "is_default")]
        releases: u32,
    },
    TaskCompleted {
        task: TaskId,
        result: Arc<str>,
        unverified: bool,
    },
    /// A hook did not let it complete, for the `refusals`th time in a row.
    TaskRefused {
        task: TaskId,
        reason: Arc<str>,
        refusals: u32,
    },
    TaskFailed {
        task: TaskId,
        reason: Arc<str>,
    },
    TaskCancelled {
        task: TaskId,
    },
    TaskRetried {
        task: TaskId,
    },

    MessageAccepted {
        message: MessageId,
        from: Party,
        to: Vec<Party>,
        text: Arc<str>,
        urgent: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<MessageId>,
        #[serde(default, skip_serializing_if = "MessageNote::is_empty")]
        note: MessageNote,
    },
    MessagesRead {
        member: MemberName,
        messages: Vec<MessageId>,
    },
    /// The user has read these messages.
    UserRead {
        messages: Vec<MessageId>,
    },

    RunStarted {
        run: RunId,
        goal: Arc<str>,
        then_down: bool,
        /// What the team's memory holds from now on.
        memory: Vec<(Arc<str>, Arc<str>)>,
        /// The number of the first task that may be added during the run. Older journals do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_task: Option<TaskId>,
    },
    RunFinished {
        run: RunId,
        answer: Arc<str>,
    },
    /// It ends without an answer.
    RunFailed {
        run: RunId,
        failure: Failure,
        reason: Arc<str>,
    },
    /// What the lead's model replied to the question of a round.
    CoordinatorDecided {
        run: RunId,
        round: u32,
        decision: Decision,
        text: Arc<str>,
    },
    /// It is this member's round. Without a task she cannot work.
    RoundStarted {
        run: RunId,
        round: u32,
        member: MemberName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskId>,
    },
    RoundEnded {
        run: RunId,
        round: u32,
        member: MemberName,
        end: RoundEnd,
        output: Arc<str>,
    },
    /// Another goal takes its place.
    RunAbandoned {
        run: RunId,
    },
    /// The lead was told that everybody is idle.
    RunIdle {
        run: RunId,
    },
    /// Her transcript, which is kept elsewhere, is this long now.
    TranscriptGrown {
        member: MemberName,
        mind: Mind,
    },
    Remembered {
        key: Arc<str>,
        value: Arc<str>,
    },
    /// How much of a limit is used up from now on; the team's without a member.
    BudgetStands {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<MemberName>,
        measure: Measure,
        standing: Standing,
    },

    /// The rules let this call pass.
    CallAllowed {
        member: MemberName,
        digest: Arc<str>,
        call: Arc<str>,
        why: Arc<str>,
    },
    /// The rules forbid this call.
    CallDenied {
        member: MemberName,
        digest: Arc<str>,
        call: Arc<str>,
        why: Arc<str>,
    },
    RequestAsked {
        request: RequestId,
        member: MemberName,
        digest: Arc<str>,
        call: Arc<str>,
        /// It is no call but a plan.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan: Option<Proposed>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Tick>,
    },
    /// A scope of more than once is a grant, unless it goes through that of another request.
    RequestAllowed {
        request: RequestId,
        scope: Scope,
        by: Party,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rules: Vec<Arc<str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        through: Option<RequestId>,
        /// With which a scope of a task ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskId>,
        /// What the person decided with: `pane`, `cli` or `top`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        via: Option<Arc<str>>,
    },
    RequestDenied {
        request: RequestId,
        by: Party,
        reason: Arc<str>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        via: Option<Arc<str>>,
    },
    /// Nobody waits for it any more.
    RequestWithdrawn {
        request: RequestId,
    },
    /// What was allowed is used up.
    RequestBegun {
        request: RequestId,
        launch: LaunchId,
    },
    RequestEnded {
        request: RequestId,
    },
    /// The user takes back what this decision granted.
    GrantRevoked {
        request: RequestId,
    },
    /// The team goes down: what was granted holds no longer.
    GrantsEnded {},

    // Snapshots alone hold these.
    /// The unread messages of the user, with their senders.
    UserMailKept {
        unread: Vec<(MessageId, Party)>,
    },
    RequestKept {
        request: Request,
    },
    GrantKept {
        grant: Grant,
    },
    /// Where the numbering stands, and how many tasks were completed and left memory.
    Counted {
        revision: Revision,
        tasks: u64,
        messages: u64,
        completed: u64,
        spawned: Vec<(Arc<str>, u64)>,
        #[serde(default, skip_serializing_if = "is_default")]
        requests: u64,
    },
    /// The newest task of a key of the team file, completed as this plan.
    KeyCompleted {
        key: Arc<str>,
        task: TaskId,
        digest: u64,
    },
    /// Tasks as they are, each after those it waits for.
    TasksKept {
        tasks: Vec<Arc<Task>>,
    },
    /// What is remembered of a task besides its plan: in snapshots of version 1, which have a `TaskAdded` before it.
    TaskKept {
        task: TaskId,
        generation: Generation,
        attempts: u32,
        refusals: u32,
        outcome: Outcome,
        created_at: u64,
        changed_at: u64,
        revision: Revision,
    },
    /// What is remembered of a member besides her plan and launch.
    MemberKept {
        member: MemberName,
        restarts: Restarts,
        last_result: Option<Arc<str>>,
        since: Tick,
        told_idle: bool,
        worked: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        objection: Option<Arc<str>>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        suspended: bool,
    },
    /// What a member has used, and for how long. After the run and the mind, which change it.
    AccountKept {
        member: MemberName,
        account: Account,
    },
    /// The same of the team, with the members who left it.
    TeamAccountKept {
        account: Account,
        spent: Spent,
    },
    /// Whether a member may change anything. After the run, which changes it.
    LockKept {
        member: MemberName,
        lock: Lock,
    },
    /// The lane of a message whose sender has become the lead since, or is her no more.
    MessageKept {
        message: MessageId,
        lane: Lane,
    },
    CallAnswered {
        call: AnsweredCall,
    },
}

impl Event {
    /// Whether the settings that the team's plan or a member's plan carries may differ after it.
    pub fn changes_settings(&self) -> bool {
        matches!(
            self,
            Self::TeamPlanned { .. }
                | Self::MemberAdded { .. }
                | Self::MemberChanged { .. }
                | Self::MemberRemoved { .. }
        )
    }
}
