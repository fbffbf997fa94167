//! Refuses limits that cannot be enforced: an agent of another vendor may not report its usage, and tokens of a model
//! without a known price do not count as money. Called by `up`, `run` and `config set` before they apply the limit.

use std::collections::BTreeMap;

use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::external::{ReportedUsage, reported_usage};
use agent_team_protocol::spec::{Budget, ExternalAgent, MemberSpec, TeamSpec};
use agent_team_protocol::text::visible_line;
use agent_team_system::directories::Directories;

use super::doctor::model;
use crate::error::Failure;

/// Checks each member that has a limit of tokens or dollars, or whose team has one. `environment`: the variables that
/// all members will have. A member whose model cannot be found is not checked: after its start, the state of the member
/// names the reason.
pub(super) fn check(
    spec: &TeamSpec,
    environment: &BTreeMap<String, String>,
) -> Result<(), Failure> {
    let of_team = &spec.limits.budget;
    for member in &spec.members {
        let agent = member.agent.external.as_ref();
        let Some(agent) = agent.filter(|_| member.engine.is_external()) else {
            continue;
        };
        let reported = reported_usage(agent);
        let budgets = [of_team, &member.budget];
        if !reported.cost && budgets.iter().any(|budget| budget.micro_usd.is_some()) {
            return Err(unreported(member, agent, "limits.usd", "cost"));
        }
        if !reported.tokens && budgets.iter().any(|budget| budget.tokens.is_some()) {
            return Err(unreported(member, agent, "limits.tokens", "tokens"));
        }
    }
    let has_limit = |budget: &Budget| budget.micro_usd.is_some();
    let is_limited = |member: &&MemberSpec| {
        member.engine.uses_model() && (has_limit(of_team) || has_limit(&member.budget))
    };
    let mut groups = model::Alike::groups(spec.members.iter().filter(is_limited));
    // The error names the first member of the file that has an unknown price.
    groups.sort_by_key(|group| {
        let mut members = spec.members.iter();
        members.position(|member| member.name == group.first().name)
    });
    for group in groups {
        let Ok(explained) = group.explain(environment.clone()) else {
            continue;
        };
        if let Some(model) = explained.unpriced.first() {
            return Err(unknown_price(group.first(), model)?);
        }
    }
    Ok(())
}

fn unreported(member: &MemberSpec, agent: &ExternalAgent, limit: &str, usage: &str) -> Failure {
    let text = format!(
        "cannot apply {limit}: {}, the agent of {}, does not report its {usage}",
        visible_line(&agent.name),
        member.name
    );
    let limits = match reported_usage(agent) {
        ReportedUsage { tokens: true, .. } => "limits.tokens or limits.minutes",
        ReportedUsage { tokens: false, .. } => "limits.minutes",
    };
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
