//! Plans that members propose: see [`crate::team::plan_lock`]. A plan is a request, and is decided like every other request.

use std::sync::Arc;

use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::id::{MemberName, TaskId};
use agent_team_protocol::value::ProposedPlan;

use super::requests::CALL_MAX;
use super::{CallResult, Decider, check_size};
use crate::input::Origin;
use crate::refusal::Refused;
use crate::team::answers::Answer;

impl Decider<'_> {
    /// Adds a plan for approval; rules do not apply to it. The plan replaces the member's previous plan, and the
    /// member's open requests are withdrawn. If the same plan is already pending, returns its request.
    pub(super) fn propose(&mut self, by: &Origin, digest: Arc<str>, call: Arc<str>) -> CallResult {
        let (name, _) = by.member()?;
        check_size("the plan", &call, CALL_MAX)?;
        let member = self.member(name)?;
        if !member.spec.must_plan {
            return Err(Refused::NeedsNoPlan(name.clone()));
        }
        let plan = ProposedPlan {
            number: member.lock.newest_plan + 1,
            task: self.team.task_of(name).map(|task| task.id),
        };
        if let Some(same) = self.team.requests.pending_plan(name)
            && same.digest == digest
        {
            let request = same.id;
            return Ok(Answer::Request { request }.into());
        }
        self.withdraw_open_requests(name);
        let request = self.record_asked(name.clone(), digest, call, Some(plan));
        let number = plan.number;
        let show = CommandLine::ShowRequest(request);
        let text = format!("{name} proposes plan {number}: {show}");
        self.announce(request, text);
        Ok(Answer::Request { request }.into())
    }

    /// A locked member must not bypass its lock by completing the task.
    pub(super) fn check_unlocked(&self, by: &Origin) -> Result<(), Refused> {
        match by {
            Origin::Member { name, .. } if self.member(name)?.is_locked() => {
                Err(Refused::PlanFirst)
            }
            Origin::Member { .. } | Origin::User => Ok(()),
        }
    }

    /// Withdraws the member's open requests if its plan is for another task: an approval for the other task must not
    /// carry over to `task`.
    pub(super) fn withdraw_for_task(&mut self, name: &MemberName, task: TaskId) {
        let lock = self.team.member(name).filter(|it| it.spec.must_plan);
        let Some(lock) = lock.map(|member| member.lock) else {
            return;
        };
        let pending = self.team.requests.pending_plan(name);
        let plan = pending.and_then(|request| request.plan).or(lock.approved);
        if plan.is_some_and(|plan| plan.task != Some(task)) {
            self.withdraw_open_requests(name);
        }
    }
}
