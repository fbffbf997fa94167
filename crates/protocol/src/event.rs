//! A team's events as clients see them.
//!
//! The supervisor derives one client event from each event of the journal. The journal's form of the event stays inside
//! the supervisor. Every event is published, even if all its fields are omitted here, so that the revisions of a
//! subscription have no gap.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::id::{
    Generation, LaunchId, MemberName, MessageId, Party, RequestId, RoleName, RunId, TaskId,
};
use crate::spec::{Limits, TaskSpec};
use crate::value::{
    Budget, BudgetState, Measure, MessageNote, Mode, ProcessStamp, ProposedPlan, RoundChoice,
    RoundEnd, RunFailure, Scope, Usage,
};

/// One change of a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum ClientEvent {
    /// The settings of the team itself were set or changed.
    TeamPlanned {
        #[serde(rename = "plan")]
        limits: Limits,
    },
    /// The user changed the permission mode of the running team, or of this member.
    ModeChanged {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<MemberName>,
        mode: Mode,
    },
    /// The team runs for the first time, or for the first time after a restart of the machine: no process of an earlier
    /// launch is left.
    Booted {},

    MemberAdded {
        #[serde(rename = "plan")]
        spec: MemberSummary,
    },
    MemberChanged {
        #[serde(rename = "plan")]
        spec: MemberSummary,
    },
    MemberRemoved {
        member: MemberName,
    },
    /// The member should run and has no launch yet.
    MemberWanted {
        member: MemberName,
    },
    LaunchStarted {
        member: MemberName,
        launch: LaunchId,
    },
    /// The worker connected.
    LaunchReady {
        member: MemberName,
        launch: LaunchId,
        process: ProcessStamp,
    },
    /// The member is in a turn and was asked to stop.
    LaunchAsked {
        member: MemberName,
        launch: LaunchId,
    },
    /// The member objected to the stop and continues.
    LaunchObjected {
        member: MemberName,
        launch: LaunchId,
        reason: Arc<str>,
    },
    /// The worker was asked to exit, or reported that it exits.
    LaunchDraining {
        member: MemberName,
        launch: LaunchId,
    },
    /// The worker is dead or must be killed: its process tree is being terminated.
    LaunchEnding {
        member: MemberName,
        launch: LaunchId,
        reason: Arc<str>,
    },
    /// No process of the launch is left.
    LaunchEnded {
        member: MemberName,
        launch: LaunchId,
        next: Next,
    },
    /// The member entered a state without a launch.
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

    TaskAdded {
        task: TaskId,
        #[serde(rename = "plan")]
        spec: Box<TaskSpec>,
        created_by: Party,
    },
    TaskChanged {
        task: TaskId,
        #[serde(rename = "plan")]
        spec: Box<TaskSpec>,
    },
    TaskClaimed {
        task: TaskId,
        owner: Party,
        generation: Generation,
        /// How often the task was claimed.
        attempts: u32,
    },
    TaskReleased {
        task: TaskId,
        /// Why the task was released.
        note: Arc<str>,
        /// The owner, if the task was released on request. This member does not claim the task again on its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        taken_from: Option<MemberName>,
    },
    TaskCompleted {
        task: TaskId,
        result: Arc<str>,
        /// The task has a `verify` line that was not run.
        unverified: bool,
    },
    /// A hook refused the completion.
    TaskRefused {
        task: TaskId,
        reason: Arc<str>,
        /// The number of consecutive refusals.
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
        /// The message that this message answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<MessageId>,
        #[serde(default, skip_serializing_if = "MessageNote::is_empty")]
        note: MessageNote,
    },
    /// The member has read these messages.
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
        /// The team goes down when the run ends.
        then_down: bool,
        /// The initial contents of the team's memory: keys, and values as JSON texts.
        memory: Vec<(Arc<str>, Arc<str>)>,
    },
    RunFinished {
        run: RunId,
        answer: Arc<str>,
    },
    /// The run ended without an answer.
    RunFailed {
        run: RunId,
        failure: RunFailure,
        reason: Arc<str>,
    },
    /// The run was replaced by another goal.
    RunAbandoned {
        run: RunId,
    },
    /// The lead was notified that all members are idle.
    RunIdle {
        run: RunId,
    },
    /// The reply of the lead's model to the question of a round.
    CoordinatorDecided {
        run: RunId,
        round: u32,
        decision: RoundChoice,
        /// The whole reply.
        text: Arc<str>,
    },
    /// A round began for this member.
    RoundStarted {
        run: RunId,
        round: u32,
        member: MemberName,
        /// The task of the round. `None`: the member cannot work, so the round fails at once.
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
    /// Items or usage were added to the member's transcript, or the member's turn ended.
    TranscriptGrown {
        member: MemberName,
        #[serde(rename = "mind")]
        transcript: TranscriptSize,
    },
    /// The member's turn ended because it could not continue, for this reason.
    TurnFailed {
        member: MemberName,
        reason: Arc<str>,
    },
    /// The member was the first to change these files during the run.
    FilesChanged {
        run: RunId,
        member: MemberName,
        /// Absolute paths.
        files: Vec<Arc<str>>,
    },
    /// A value in the team's memory was set.
    Remembered {
        key: Arc<str>,
        /// A JSON text.
        value: Arc<str>,
    },
    /// The state of a limit changed.
    #[serde(rename = "budget_stands")]
    BudgetStateChanged {
        /// The member that the limit applies to. `None`: the whole team.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<MemberName>,
        measure: Measure,
        #[serde(rename = "standing")]
        state: BudgetState,
    },

    /// This call was allowed without a request: by a rule, a grant, the permission mode or a built-in check.
    CallAllowed {
        member: MemberName,
        digest: Arc<str>,
        /// A JSON text: tool, arguments and directory.
        call: Arc<str>,
        /// Why the call was allowed: the rule, grant, mode or check that decided about each of its parts.
        why: Arc<str>,
    },
    /// This call was denied without a request: by a rule, the permission mode, a built-in check, or because the member
    /// has no approved plan.
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
        /// As in `call_allowed`.
        call: Arc<str>,
        /// Set if the request is a plan and not a call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan: Option<ProposedPlan>,
    },
    RequestAllowed {
        request: RequestId,
        scope: Scope,
        by: Party,
        /// The rules of the grant that the decision creates. A grant without rules covers exactly this call.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rules: Vec<Arc<str>>,
        /// The request whose grant covers this request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        through: Option<RequestId>,
        /// For the scope `task`: the grant is valid while the member works on this task.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskId>,
        /// The program in which the user decided: `pane`, `cli`, `top` or `other`.
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
        /// Whether the user allowed the call in the agent's own terminal interface. `None`: the user did not decide
        /// there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allowed_in_agent: Option<bool>,
    },
    /// The permission was consumed: the call runs.
    RequestBegun {
        request: RequestId,
        launch: LaunchId,
    },
    RequestEnded {
        request: RequestId,
    },
    /// The user revoked the grant of this decision.
    GrantRevoked {
        request: RequestId,
    },
    /// The team went down: all grants end.
    GrantsEnded {},

    /// An event that this build cannot read.
    Unknown,
}

/// The part of a member's spec that clients see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberSummary {
    pub name: MemberName,
    pub role: RoleName,
    pub lead: bool,
    /// The member's limits. `None`: the member does not use a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// The next step for a member without a launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// The next launch, as soon as the start limit permits.
    Launch,
    /// The next launch, after a backoff.
    Cool {},
    /// Nothing until the user intervenes.
    Hold {
        reason: Arc<str>,
    },
    Stop,
}

/// The size of a member's transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TranscriptSize {
    /// Number of items.
    pub length: u64,
    /// Usage of the member's model so far.
    #[serde(default)]
    pub spent: Usage,
    /// The member is in a turn. `false` from supervisors that do not report this field.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub active: bool,
}

impl ClientEvent {
    /// The task that the event changes.
    pub fn task(&self) -> Option<TaskId> {
        let (Self::TaskAdded { task, .. }
        | Self::TaskChanged { task, .. }
        | Self::TaskClaimed { task, .. }
        | Self::TaskReleased { task, .. }
        | Self::TaskCompleted { task, .. }
        | Self::TaskRefused { task, .. }
        | Self::TaskFailed { task, .. }
        | Self::TaskCancelled { task }
        | Self::TaskRetried { task }) = self
        else {
            return None;
        };
        Some(*task)
    }

    /// Deserializes an event for serde. An event of a newer supervisor that this build cannot read becomes
    /// [`ClientEvent::Unknown`].
    pub(crate) fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let event = Box::<RawValue>::deserialize(deserializer)?;
        Ok(serde_json::from_str(event.get()).unwrap_or(Self::Unknown))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::ClientEvent;
    use crate::notification::EventNotice;

    #[test]
    fn unreadable_events_are_unknown() {
        let read = |event| {
            let notice = json!({"team": "demo-12345678", "revision": 2, "at": 7, "event": event});
            serde_json::from_value::<EventNotice>(notice).unwrap().event
        };
        for event in [
            json!({"kind": "moon_landed", "data": {"by": "ada"}}),
            json!({"kind": "member_removed", "data": {"by": "ada"}}),
            json!({"kind": "member_parked", "data": {"member": "ada", "next": "retire"}}),
            json!(7),
        ] {
            assert_eq!(read(event), ClientEvent::Unknown);
        }
        let member = "ada".parse().unwrap();
        let removed = json!({"kind": "member_removed", "data": {"member": "ada", "by": "ben"}});
        assert_eq!(read(removed), ClientEvent::MemberRemoved { member });
    }
}
