//! What keeps a member from changing anything: the plan that she must have approved first.
//!
//! ```text
//!          proposed               approved
//!   Shut ───────────▶ Shut, plan ──────────▶ Open for that plan and its task
//!    ▲                 N waits                             │
//!    └──────────────── a new plan, task or goal ───────────┘
//! ```
//! A plan is a request like any other, with the same one inbox; what is sent back, withdrawn or never decided opens
//! nothing. Who need not plan ([`MemberPlan::must_plan`](crate::plan::MemberPlan)) is never locked, whatever stands here.

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::TaskId;

/// One version of a member's plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposed {
    /// From 1 on, for each member.
    pub number: u64,
    /// What she held when she proposed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Plans that she has proposed so far.
    pub plans: u64,
    /// The plan that is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Proposed>,
}

impl Lock {
    /// A newer version is not what was approved.
    pub(crate) fn propose(&mut self, plan: Proposed) {
        self.plans = plan.number;
        self.open = None;
    }

    pub(crate) fn approve(&mut self, plan: Proposed) {
        // Only the last one can be pending; another would be nobody's to approve.
        self.open = (plan.number == self.plans).then_some(plan);
    }

    /// A plan is for one task: what was given back and taken again is the same.
    pub(crate) fn take(&mut self, task: TaskId) {
        self.open.take_if(|plan| plan.task != Some(task));
    }

    pub(crate) fn shut(&mut self) {
        self.open = None;
    }
}
