//! Actions outside the core. The driver runs the effects of an input after it has stored the input's events. If the
//! events could not be stored, the driver runs only [`Effect::EndTree`]. Each effect is safe to repeat.

use std::sync::Arc;

use agent_team_protocol::id::{Generation, LaunchId, MemberName, RequestId, TaskId};
use agent_team_protocol::value::ProcessStamp;

use crate::input::{ClaimRef, Origin, ReplyTo};
use crate::refusal::Refused;
use crate::team::answers::{Answer, CallKey};

#[derive(Debug, Clone)]
pub enum Effect {
    /// Start the member's worker with this token.
    Launch {
        member: MemberName,
        launch: LaunchId,
        token: String,
    },
    /// Ask the worker to exit.
    RequestStop {
        member: MemberName,
        launch: LaunchId,
        grace_ms: u64,
        reason: Arc<str>,
    },
    /// Terminate every process of the launch, and report when none is left.
    EndTree {
        member: MemberName,
        launch: LaunchId,
        process: Option<ProcessStamp>,
        scan: Scan,
    },
    /// The member left the team: close its pane.
    ClosePane { member: MemberName },
    /// Notify the member that it owns this task and must work on it.
    Assign { member: MemberName, task: TaskId },
    /// Notify the member that it no longer owns the task.
    Abandon {
        member: MemberName,
        task: TaskId,
        generation: Generation,
        reason: Arc<str>,
    },
    /// Offer the member its unread messages.
    Deliver { member: MemberName },
    /// Inform the lead that the state of a teammate's request changed. When the lead connects, the driver informs it of
    /// every pending request.
    Inform {
        member: MemberName,
        request: RequestId,
    },
    /// Notify the member that its permission mode may have changed.
    InformOfMode { member: MemberName },
    /// Notify the member that its permission to call its model changed.
    SendAllowance { member: MemberName },
    /// Ask the hook whether the task may complete, then repeat the call with the hook's verdict.
    RunCompletionHook {
        by: Origin,
        key: Option<CallKey>,
        reply: ReplyTo,
        claim: ClaimRef,
        result: Arc<str>,
    },
    /// Ask the hook whether the member may be idle.
    RunIdleHook {
        member: MemberName,
        launch: LaunchId,
    },
    Reply {
        to: ReplyTo,
        outcome: Result<Answer, Refused>,
    },
}

/// How thoroughly to search for a launch's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// The launch ran a task or may have run programs: search for every process that could belong to it.
    Everything,
    /// The launch never ran anything: its worker is its only process.
    ProcessAlone,
}
