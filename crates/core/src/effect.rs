//! What is to be done outside. Carried out only once the step's events are stored; each is safe to repeat.

use std::sync::Arc;

use agent_team_protocol::id::{Generation, LaunchId, MemberName, RequestId, TaskId};

use crate::answers::{Answer, CallKey};
use crate::input::{ClaimRef, Origin, ReplyTo};
use crate::member::ProcessStamp;
use crate::refusal::Refused;

#[derive(Debug, Clone)]
pub enum Effect {
    /// Start her process with this secret.
    Launch {
        member: MemberName,
        launch: LaunchId,
        token: String,
    },
    /// Ask her to end.
    AskToStop {
        member: MemberName,
        launch: LaunchId,
        grace_ms: u64,
        reason: Arc<str>,
    },
    /// End every process of the launch, and say when none is left.
    EndTree {
        member: MemberName,
        launch: LaunchId,
        process: Option<ProcessStamp>,
        scan: Scan,
    },
    /// She left the team: her pane goes too.
    ClosePane { member: MemberName },
    /// She owns this task and is to work on it.
    Assign { member: MemberName, task: TaskId },
    /// She no longer owns it.
    Abandon {
        member: MemberName,
        task: TaskId,
        generation: Generation,
        reason: Arc<str>,
    },
    /// Her inbox has something new.
    Deliver { member: MemberName },
    /// The state of a teammate's request changed: the lead is informed. A connection that starts is informed of every
    /// pending request by the driver.
    Inform {
        member: MemberName,
        request: RequestId,
    },
    /// Whether she may ask her model has changed.
    TellBudget { member: MemberName },
    /// Ask the hook whether the task may complete, then make the same call again with what it says.
    AskToComplete {
        by: Origin,
        key: Option<CallKey>,
        reply: ReplyTo,
        claim: ClaimRef,
        result: Arc<str>,
    },
    /// Ask the hook whether she may be idle.
    AskWhenIdle {
        member: MemberName,
        launch: LaunchId,
    },
    Reply {
        to: ReplyTo,
        outcome: Result<Answer, Refused>,
    },
}

/// How thoroughly a launch's processes are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// It ran a task, or may have: everything that could be its.
    Everything,
    /// It never ran anything: the process itself is enough.
    ProcessAlone,
}
