//! The lock of a member that must have a plan approved before it may change anything.
//!
//! ```text
//!            proposed                 approved
//!   Closed ───────────▶ Closed, plan ──────────▶ Open for that plan and its task
//!     ▲                   N pending                            │
//!     └────────────────── a new plan, task or goal ────────────┘
//! ```
//! A plan is a request and appears in the list of requests. Only an approved plan opens the lock. A new goal closes
//! only the lead's lock. Members without [`MemberSpec::must_plan`](crate::team::spec::MemberSpec) are never locked,
//! regardless of this state.

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::TaskId;
use agent_team_protocol::value::ProposedPlan;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLock {
    /// The number of the member's newest plan; 0 before the first one.
    #[serde(rename = "plans")]
    pub newest_plan: u64,
    /// The approved plan; `None` while the lock is closed.
    #[serde(default, rename = "open", skip_serializing_if = "Option::is_none")]
    pub approved: Option<ProposedPlan>,
}

impl PlanLock {
    /// A new plan locks the member again: the approval was for the previous plan.
    pub(crate) fn propose(&mut self, plan: ProposedPlan) {
        self.newest_plan = plan.number;
        self.approved = None;
    }

    pub(crate) fn approve(&mut self, plan: ProposedPlan) {
        // The member can propose a new plan while the user decides about the old plan. An approval of the old plan must
        // not allow the changes of the new plan.
        self.approved = (plan.number == self.newest_plan).then_some(plan);
    }

    /// The member claimed this task: closes the lock unless the approved plan is for the same task.
    pub(crate) fn close_for_other_task(&mut self, task: TaskId) {
        self.approved.take_if(|plan| plan.task != Some(task));
    }

    pub(crate) fn close(&mut self) {
        self.approved = None;
    }
}
