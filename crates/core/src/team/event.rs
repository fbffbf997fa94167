//! Past facts: the only values that change a team, and the format of the journal.
//!
//! Events carry absolute values (a generation, a count, a deadline), never differences, so that a snapshot is itself
//! a list of events. The format is frozen per version in `tests/fixtures/journal/`: variants and fields are added,
//! never renamed or removed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::{
    Generation, LaunchId, MemberName, MessageId, Party, RequestId, Revision, RunId, TaskId,
};
use agent_team_protocol::value::{
    BudgetState, Effort, Measure, MessageNote, Mode, ProcessStamp, ProposedPlan, RoundChoice,
    RoundEnd, RunFailure, Scope, Usage,
};

use crate::team::answers::AnsweredCall;
use crate::team::budget::Account;
use crate::team::mail::Lane;
use crate::team::member::{AfterLaunch, Next, StopRequest};
use crate::team::plan_lock::PlanLock;
use crate::team::request::{Grant, Request};
use crate::team::restarts::Restarts;
use crate::team::run::{RunTotals, TranscriptSummary};
use crate::team::spec::{MemberSpec, TaskSpec, TeamSpec};
use crate::team::stored::{StoredUsage, is_default};
use crate::team::task::{Task, TaskState};
use crate::team::user_mail::UserQuestion;
use crate::time::{Tick, TokenHash};

/// One entry of the journal. Its position is its revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Unix time in milliseconds.
    pub at: u64,
    pub tick: Tick,
    pub event: Event,
    /// The call that this event completes. The answer of the call is stored in the same record as the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Box<AnsweredCall>>,
}

/// Defines [`Event`] and, for each family, an enum with references to the fields of its events. With these enums the
/// compiler checks that the function of a family handles exactly the events of the family.
macro_rules! events {
    ($([$family:ident: $of_family:ident] $(
        $(#[$meta:meta])*
        $event:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* },
    )*)*) => {
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind", content = "data", rename_all = "snake_case")]
        pub enum Event {
            $($(
                $(#[$meta])*
                $event { $($(#[$field_meta])* $field: $type,)* },
            )*)*
        }

        $(
            /// An event of this family.
            #[derive(Debug, Clone, Copy)]
            pub enum $of_family<'a> {
                $($event { $($field: &'a $type,)* },)*
            }
        )*

        /// An event with its family: the part of the team that the event changes. See `apply`.
        #[derive(Debug, Clone, Copy)]
        pub enum Family<'a> {
            $($family($of_family<'a>),)*
        }

        impl Event {
            /// The variant's name, for logs.
            pub fn kind(&self) -> &'static str {
                match self {
                    $($(Self::$event { .. } => stringify!($event),)*)*
                }
            }

            pub fn family(&self) -> Family<'_> {
                match self {
                    $($(
                        Self::$event { $($field,)* } => {
                            Family::$family($of_family::$event { $($field,)* })
                        }
                    )*)*
                }
            }
        }
    };
}

events! {
    [Team: TeamEvent]
    TeamPlanned {
        #[serde(rename = "plan")]
        spec: TeamSpec,
    },
    /// The user changed the permission mode of the running team, or of this member.
    ModeChanged {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<MemberName>,
        mode: Mode,
    },
    /// The team was adopted for the first time, or after a reboot: no recorded process is still running, and no earlier
    /// tick is valid.
    Booted {
        boot: Arc<str>,
    },

    [Members: MemberEvent]
    MemberAdded {
        #[serde(rename = "plan")]
        spec: MemberSpec,
    },
    MemberChanged {
        #[serde(rename = "plan")]
        spec: MemberSpec,
    },
    MemberRemoved {
        member: MemberName,
    },
    /// The member has no launch and must be started.
    MemberWanted {
        member: MemberName,
    },
    LaunchStarted {
        member: MemberName,
        launch: LaunchId,
        token_hash: TokenHash,
        give_up_at: Tick,
    },
    /// The worker connected and presented its token.
    LaunchReady {
        member: MemberName,
        launch: LaunchId,
        process: ProcessStamp,
    },
    /// The member is in a turn and was asked to stop.
    LaunchAsked {
        member: MemberName,
        launch: LaunchId,
        #[serde(rename = "asked")]
        stop_request: StopRequest,
    },
    /// The member objected to the stop and continues.
    LaunchObjected {
        member: MemberName,
        launch: LaunchId,
        reason: Arc<str>,
    },
    /// The worker was asked to exit, or reported that it exits. At `kill_at` it is killed if it still runs.
    LaunchDraining {
        member: MemberName,
        launch: LaunchId,
        kill_at: Tick,
        then: AfterLaunch,
        /// Empty in journals of earlier versions.
        #[serde(default, skip_serializing_if = "is_default")]
        reason: Arc<str>,
    },
    /// The worker is dead or must be killed: its whole process tree is being terminated.
    LaunchEnding {
        member: MemberName,
        launch: LaunchId,
        reason: Arc<str>,
        then: AfterLaunch,
    },
    /// No process of the launch is left.
    LaunchEnded {
        member: MemberName,
        launch: LaunchId,
        restarts: Restarts,
        next: Next,
    },
    /// The member enters a state without a launch. If the member had a launch, no process of that launch is left.
    MemberParked {
        member: MemberName,
        next: Next,
    },
    /// Spawned members stopped with the team: the next `up` starts them again.
    MembersSuspended {
        members: Vec<MemberName>,
    },
    /// The member is idle and found no task to claim.
    MemberIdle {
        member: MemberName,
    },

    [Tasks: TaskEvent]
    TaskAdded {
        task: TaskId,
        #[serde(rename = "plan")]
        spec: TaskSpec,
        created_by: Party,
    },
    TaskChanged {
        task: TaskId,
        #[serde(rename = "plan")]
        spec: TaskSpec,
    },
    TaskClaimed {
        task: TaskId,
        owner: Party,
        generation: Generation,
        attempts: u32,
    },
    /// `taken_from`: the owner, if the task was released on request. This member does not claim the task again on its
    /// own.
    TaskReleased {
        task: TaskId,
        note: Arc<str>,
        taken_from: Option<MemberName>,
        /// How often owners have released the task since it was added or last retried.
        #[serde(default, skip_serializing_if = "is_default")]
        releases: u32,
    },
    TaskCompleted {
        task: TaskId,
        result: Arc<str>,
        unverified: bool,
    },
    /// A hook refused the completion, for the `refusals`th time in a row.
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

    [Messages: MessageEvent]
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

    [Runs: RunEvent]
    RunStarted {
        run: RunId,
        goal: Arc<str>,
        then_down: bool,
        /// The initial contents of the team's memory.
        memory: Vec<(Arc<str>, Arc<str>)>,
        /// The number of the first task that may be added during the run. Older journals do not contain this field.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_task: Option<TaskId>,
        /// How much models think until the run ends. Older journals do not contain this field.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        effort: Option<Effort>,
    },
    RunFinished {
        run: RunId,
        answer: Arc<str>,
        /// Older journals do not contain this field.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        totals: Option<RunTotals>,
    },
    /// The run ends without an answer.
    RunFailed {
        run: RunId,
        failure: RunFailure,
        reason: Arc<str>,
        /// Older journals do not contain this field.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        totals: Option<RunTotals>,
    },
    /// The member was the first to change these files during the run.
    FilesChanged {
        run: RunId,
        member: MemberName,
        files: Vec<Arc<str>>,
    },
    /// The reply of the lead's model to the question of a round.
    CoordinatorDecided {
        run: RunId,
        round: u32,
        decision: RoundChoice,
        text: Arc<str>,
    },
    /// A round began for this member. `task`: `None` if the member could not work.
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
    /// The run was replaced by another goal.
    RunAbandoned {
        run: RunId,
    },
    /// The lead was notified that all members are idle.
    RunIdle {
        run: RunId,
    },
    /// The summary of the member's transcript changed. The store keeps the transcript itself.
    TranscriptGrown {
        member: MemberName,
        #[serde(rename = "mind")]
        summary: TranscriptSummary,
    },
    /// The member's turn ended because it could not continue, for this reason.
    TurnFailed {
        member: MemberName,
        reason: Arc<str>,
    },
    Remembered {
        key: Arc<str>,
        value: Arc<str>,
    },
    /// The state of a limit changed. `member`: `None` for a limit of the team.
    #[serde(rename = "budget_stands")]
    BudgetStateChanged {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<MemberName>,
        measure: Measure,
        #[serde(rename = "standing")]
        state: BudgetState,
    },

    // These events are only stored: they change nothing in the state.
    [Notes: NoteEvent]
    /// The policy allowed this call without a request.
    CallAllowed {
        member: MemberName,
        digest: Arc<str>,
        call: Arc<str>,
        why: Arc<str>,
    },
    /// The policy, or the member's lock, denied this call without a request.
    CallDenied {
        member: MemberName,
        digest: Arc<str>,
        call: Arc<str>,
        why: Arc<str>,
    },
    [Requests: RequestEvent]
    RequestAsked {
        request: RequestId,
        member: MemberName,
        digest: Arc<str>,
        call: Arc<str>,
        /// Set if the request is a plan and not a call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan: Option<ProposedPlan>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Tick>,
    },
    /// A scope wider than `once` creates a grant, unless the grant of another request allowed this request.
    RequestAllowed {
        request: RequestId,
        scope: Scope,
        by: Party,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rules: Vec<Arc<str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        through: Option<RequestId>,
        /// The task that limits the grant, for the scope `task`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskId>,
        /// The program in which the user made the decision: `pane`, `cli`, `top` or `other`.
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
    /// The member no longer waits for the decision.
    RequestWithdrawn {
        request: RequestId,
        /// Whether the user allowed the call. Set only if the user decided in the agent's own terminal interface.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allowed_in_agent: Option<bool>,
    },
    /// The member begins the call that the decision allowed, so the permission cannot be used again.
    RequestBegun {
        request: RequestId,
        launch: LaunchId,
    },
    RequestEnded {
        request: RequestId,
    },
    /// The user revoked the grant that the decision of this request created.
    GrantRevoked {
        request: RequestId,
    },
    /// The team went down: all grants end.
    GrantsEnded {},

    // Events of snapshots only: each contains a part of the state.
    [Kept: KeptEvent]
    /// The unread messages of the user with their senders, and the open questions to the user.
    UserMailKept {
        unread: Vec<(MessageId, Party)>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        questions: Vec<UserQuestion>,
    },
    RequestKept {
        request: Request,
    },
    GrantKept {
        grant: Grant,
    },
    /// The highest numbers that were assigned, and the number of completed tasks, because these tasks are not in
    /// memory.
    Counted {
        revision: Revision,
        tasks: u64,
        messages: u64,
        completed: u64,
        spawned: Vec<(Arc<str>, u64)>,
        #[serde(default, skip_serializing_if = "is_default")]
        requests: u64,
    },
    /// The newest task with this key of the team file is completed. `digest` is the digest of its spec.
    KeyCompleted {
        key: Arc<str>,
        task: TaskId,
        digest: u64,
    },
    /// The state of tasks, each after its dependencies.
    TasksKept {
        tasks: Vec<Arc<Task>>,
    },
    /// The state of a task besides its spec. Only in snapshots of version 1, after the `TaskAdded` of the task.
    TaskKept {
        task: TaskId,
        generation: Generation,
        attempts: u32,
        refusals: u32,
        #[serde(rename = "outcome")]
        state: TaskState,
        created_at: u64,
        changed_at: u64,
        revision: Revision,
    },
    /// The state of a member besides its spec and launch.
    MemberKept {
        member: MemberName,
        restarts: Restarts,
        last_result: Option<Arc<str>>,
        since: Tick,
        /// Set if the time differs from `since`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        life_since: Option<Tick>,
        #[serde(rename = "told_idle")]
        idle_notified: bool,
        worked: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        objection: Option<Arc<str>>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        suspended: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        turn_failure: Option<Arc<str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_end: Option<Arc<str>>,
    },
    /// The usage of a member. Follows the events of the run and the transcripts, because those events change the usage.
    AccountKept {
        member: MemberName,
        account: Account,
    },
    /// The usage of the team, including members that left it.
    TeamAccountKept {
        account: Account,
        #[serde(with = "StoredUsage")]
        spent: Usage,
    },
    /// The lock of a member. Follows the events of the run, because those events change the lock.
    LockKept {
        member: MemberName,
        lock: PlanLock,
    },
    /// The lane of a queued message whose sender has since become the lead or stopped being the lead.
    MessageKept {
        message: MessageId,
        lane: Lane,
    },
    CallAnswered {
        call: AnsweredCall,
    },
}

impl Event {
    /// Whether the settings in the team's spec or a member's spec may differ after this event.
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
