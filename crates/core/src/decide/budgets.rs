//! Budgets: warns at 80 % of a limit, blocks members at 100 %, and unblocks them when the limit is raised.

use agent_team_protocol::id::{MemberName, Party};
use agent_team_protocol::value::{Budget, Usage};

use super::{CallResult, Decider};
use crate::effect::Effect;
use crate::refusal::Refused;
use crate::team::answers::Answer;
use crate::team::budget::{Account, Measure, OutOfBudget, Standing};
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

    /// Records every changed standing and notifies the members and the user.
    pub(super) fn judge_budgets(&mut self) {
        let now = self.context.now;
        let of_team = self
            .team
            .account
            .judge(&self.team.spec.budget, &self.team.spent, now);
        for (measure, standing) in of_team {
            self.stand(None, measure, standing);
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
            for (measure, standing) in judged {
                self.stand(Some(name.clone()), measure, standing);
            }
        }
    }

    fn stand(&mut self, whose: Option<MemberName>, measure: Measure, standing: Standing) {
        let Some((account, _, _)) = self.accounts(whose.as_ref()) else {
            return;
        };
        let before = account.standing(measure);
        self.record(Event::BudgetStands {
            member: whose.clone(),
            measure,
            standing,
        });
        if standing > before {
            self.notify_standing(whose.as_ref(), measure, standing);
        }
        if (before == Standing::Spent) != (standing == Standing::Spent) {
            let concerned = |member: &Member| {
                member.spec.budget.is_some()
                    && whose.as_ref().is_none_or(|name| *name == member.spec.name)
            };
            self.notify_budgets(self.names(concerned));
        }
    }

    pub(super) fn notify_budgets(&mut self, names: Vec<MemberName>) {
        for member in names {
            self.effect(Effect::SendAllowance { member });
        }
    }

    /// Notifies the lead and the user. The lead is not notified of a limit that blocks the lead itself: it could not
    /// act on it.
    fn notify_standing(
        &mut self,
        whose: Option<&MemberName>,
        measure: Measure,
        standing: Standing,
    ) {
        let Some((account, budget, spent)) = self.accounts(whose) else {
            return;
        };
        let used = account.used(spent, self.context.now).of(measure);
        let limit = measure.limit(budget).unwrap_or(0);
        let name = whose.map_or("the team", MemberName::as_str);
        let lead = self.lead();
        let is_lead = whose.is_none_or(|name| lead == Party::Member(name.clone()));
        let (to, text) = match standing {
            Standing::Within => return,
            Standing::Warned => {
                let text = format!(
                    "{name} has used more than 80 % of {}: {} of {}",
                    measure.key(),
                    measure.amount(used),
                    measure.amount(limit)
                );
                (vec![lead, Party::User], text)
            }
            Standing::Spent => {
                let who = whose.map_or("every member with a model", MemberName::as_str);
                let out = OutOfBudget {
                    measure,
                    of: whose.map(|name| name.as_str().into()),
                    limit,
                };
                if !is_lead && lead != Party::User {
                    self.notify([lead], format!("{who} waits: {}", out.for_model()));
                }
                (vec![Party::User], format!("{who} waits: {out}"))
            }
        };
        self.notify(to, text);
    }

    /// The usage and limits of the member, or of the team.
    fn accounts(&self, whose: Option<&MemberName>) -> Option<(&Account, &Budget, &Usage)> {
        match whose {
            None => Some((&self.team.account, &self.team.spec.budget, &self.team.spent)),
            Some(name) => {
                let member = self.team.member(name)?;
                let budget = member.spec.budget.as_ref()?;
                Some((&member.account, budget, &member.transcript.spent))
            }
        }
    }
}
