//! Budgets: warns at 80 % of a limit, and blocks members at 100 %. A higher or removed limit, or a new goal,
//! unblocks them.
//!
//! A budget belongs to a member or to the team. In the functions below, `owner` is that member, or `None` for the team.

use agent_team_protocol::id::{MemberName, Party};
use agent_team_protocol::value::{Budget, BudgetState, Measure, Usage};

use super::{CallResult, Decider};
use crate::effect::Effect;
use crate::refusal::Refused;
use crate::team::answers::Answer;
use crate::team::budget::{Account, OutOfBudget};
use crate::team::event::Event;
use crate::team::member::Member;
use crate::team::spec::{MemberSpec, TeamSpec};

impl Decider<'_> {
    pub(super) fn set_budget(&mut self, member: Option<MemberName>, budget: Budget) -> CallResult {
        match member {
            None if self.team.spec.budget != budget => {
                let spec = TeamSpec {
                    budget,
                    ..self.team.spec.clone()
                };
                self.record(Event::TeamPlanned { spec });
            }
            None => {}
            Some(name) => {
                let spec = &self.member(&name)?.spec;
                if spec.budget.is_none() {
                    return Err(Refused::NoBudget(name));
                }
                if spec.budget != Some(budget) {
                    let spec = MemberSpec {
                        budget: Some(budget),
                        ..spec.clone()
                    };
                    self.record(Event::MemberChanged { spec });
                }
            }
        }
        Ok(Answer::Done.into())
    }

    /// Records every changed state of a limit. Notifies the lead and the user of a higher state. Members that a change
    /// blocks or unblocks receive a new allowance.
    pub(super) fn judge_budgets(&mut self) {
        let now = self.context.now;
        let of_team = self
            .team
            .account
            .judge(&self.team.spec.budget, &self.team.spent, now);
        for (measure, state) in of_team {
            self.change_budget_state(None, measure, state);
        }
        let of_members: Vec<_> = self
            .team
            .members()
            .filter_map(|member| {
                let budget = member.spec.budget.as_ref()?;
                let judged = member.account.judge(budget, &member.transcript.spent, now);
                Some((member.spec.name.clone(), judged))
            })
            .collect();
        for (name, judged) in of_members {
            for (measure, state) in judged {
                self.change_budget_state(Some(name.clone()), measure, state);
            }
        }
    }

    fn change_budget_state(
        &mut self,
        owner: Option<MemberName>,
        measure: Measure,
        state: BudgetState,
    ) {
        let Some((account, _, _)) = self.usage_and_limits(owner.as_ref()) else {
            return;
        };
        let before = account.state(measure);
        self.record(Event::BudgetStateChanged {
            member: owner.clone(),
            measure,
            state,
        });
        if state > before {
            self.notify_budget_state(owner.as_ref(), measure, state);
        }
        if (before == BudgetState::Spent) != (state == BudgetState::Spent) {
            let concerned = |member: &Member| {
                member.spec.budget.is_some()
                    && owner.as_ref().is_none_or(|name| *name == member.spec.name)
            };
            self.send_allowances(self.names(concerned));
        }
    }

    pub(super) fn send_allowances(&mut self, members: Vec<MemberName>) {
        for member in members {
            self.effect(Effect::SendAllowance { member });
        }
    }

    /// Sends an allowance to each member with a model, after the effort of the goal has changed.
    pub(super) fn send_all_allowances(&mut self) {
        self.send_allowances(self.names(|member| member.spec.budget.is_some()));
    }

    /// Notifies the lead and the user. Only the user is notified of an exhausted limit that blocks the lead: a blocked
    /// lead cannot act on a notice.
    fn notify_budget_state(
        &mut self,
        owner: Option<&MemberName>,
        measure: Measure,
        state: BudgetState,
    ) {
        let Some((account, budget, spent)) = self.usage_and_limits(owner) else {
            return;
        };
        let used = account.used(spent, self.context.now).of(measure);
        let limit = measure.limit(budget).unwrap_or(0);
        let name = owner.map_or("the team", MemberName::as_str);
        let lead = self.lead();
        let blocks_lead = owner.is_none_or(|name| lead == Party::Member(name.clone()));
        let (to, text) = match state {
            BudgetState::Within => return,
            BudgetState::Warned => {
                let text = format!(
                    "{name} has used at least 80 % of {}: {} of {}",
                    measure.key(),
                    measure.amount(used),
                    measure.amount(limit)
                );
                (vec![lead, Party::User], text)
            }
            BudgetState::Spent => {
                let blocked = owner.map_or("every member with a model", MemberName::as_str);
                let out = OutOfBudget {
                    measure,
                    of: owner.map(|name| name.as_str().into()),
                    limit,
                };
                if !blocks_lead && lead != Party::User {
                    self.notify([lead], format!("{blocked} waits: {}", out.for_model()));
                }
                (vec![Party::User], format!("{blocked} waits: {out}"))
            }
        };
        self.notify(to, text);
    }

    fn usage_and_limits(&self, owner: Option<&MemberName>) -> Option<(&Account, &Budget, &Usage)> {
        match owner {
            None => Some((&self.team.account, &self.team.spec.budget, &self.team.spent)),
            Some(name) => {
                let member = self.team.member(name)?;
                let budget = member.spec.budget.as_ref()?;
                Some((&member.account, budget, &member.transcript.spent))
            }
        }
    }
}
