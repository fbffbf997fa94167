//! Refuses a limit in dollars that cannot be enforced: tokens of a model without a known price do not count as money.
//! Called by `up`, `run` and `config set` before they apply the limit.

use std::collections::BTreeMap;

use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::external::known_agent;
use agent_team_protocol::spec::{Budget, MemberSpec, SideChannelKind, TeamSpec};
use agent_team_protocol::text::visible_line;
use agent_team_system::directories::Directories;

use super::doctor::model;
use crate::error::Failure;

/// Checks the models of each member that has a limit in dollars, or whose team has one. `environment`: the variables
/// that all members will have. A member whose model cannot be found is not checked: after its start, the state of the
/// member names the reason.
pub(super) fn check(
    spec: &TeamSpec,
    environment: &BTreeMap<String, String>,
) -> Result<(), Failure> {
    let has_limit = |budget: &Budget| budget.micro_usd.is_some();
    let mut external = spec.members.iter().filter(|member| {
        let agent = member.agent.external.as_ref();
        let reports_no_cost = agent.is_some_and(|agent| match &agent.terminal {
            // Of the side channels to agents in their own terminal interfaces, only OpenCode's server reports the cost.
            Some(own) => own.channel != SideChannelKind::OpenCodeServer,
            None => known_agent(agent).is_some_and(|known| !known.reports_cost),
        });
        member.engine.is_external()
            && reports_no_cost
            && (has_limit(&spec.limits.budget) || has_limit(&member.budget))
    });
    if let Some(member) = external.next() {
        return Err(unknown_cost(member));
    }
    let is_limited = |member: &&MemberSpec| {
        member.engine.uses_model() && (has_limit(&spec.limits.budget) || has_limit(&member.budget))
    };
    let mut checked = Vec::new();
    for member in spec.members.iter().filter(is_limited) {
        let agent = &member.agent;
        let delegate = agent.delegate.as_ref();
        let others = (&agent.compact, delegate.map(|delegate| &delegate.model));
        let models = (&agent.model, &agent.fallbacks, others, &member.env);
        if checked.contains(&models) {
            continue;
        }
        checked.push(models);
        let mut environment = environment.clone();
        environment.extend(member.env.clone());
        let Ok(explained) = model::explain(&member.agent, &environment) else {
            continue;
        };
        if let Some(model) = explained.unpriced.first() {
            return Err(unknown_price(member, model)?);
        }
    }
    Ok(())
}

fn unknown_cost(member: &MemberSpec) -> Failure {
    let agent = member.agent.external.as_ref();
    let limits = match agent.is_some_and(|agent| agent.terminal.is_some()) {
        true => "limits.minutes",
        false => "limits.tokens or limits.minutes",
    };
    let agent = agent.map_or("", |agent| agent.name.as_str());
    let text = format!(
        "cannot apply limits.usd: {agent}, the agent of {}, does not report its cost",
        member.name
    );
    Failure::new("no_price", ExitCode::Usage, text).hint(format!(
        "use {limits}; or set the limit in the tables of other members"
    ))
}

fn unknown_price(member: &MemberSpec, model: &str) -> Result<Failure, Failure> {
    let settings = Directories::from_environment()?.settings_file();
    let model = visible_line(model);
    let (provider, name) = model.split_once('/').unwrap_or(("", &model));
    let text = format!(
        "cannot apply limits.usd: the price of {model}, the model of {}, is unknown",
        member.name
    );
    let failure = Failure::new("no_price", ExitCode::Usage, text);
    Ok(failure.hint(format!(
        "write its price in dollars per million tokens into [models.{provider}] in {}: \"{name}\" = {{ input = …, output \
         = … }}; or update the prices with: agent-team models update FILE",
        settings.display()
    )))
}
