//! Builds the dependencies of a native member: its model, its tools and its system prompt. Called when an agent is
//! built. The only module that knows where they come from.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use agent_team_llm::Model;
use agent_team_llm::catalogue::Catalogue;
use agent_team_llm::choose::choose;
use agent_team_llm::open::{OpenConfig, open};
use agent_team_llm::recording::Recorder;
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::spec::AgentSpec;
use agent_team_protocol::view::TeamView;
use agent_team_protocol::with_causes;
use agent_team_providers::{ModelName, PROVIDERS};
use agent_team_tools::confine::Confinement;
use agent_team_tools::supervisor_client::SupervisorClient;
use agent_team_tools::team::{
    Briefing, Shared, plan_first, plan_tool, request_tools, system_prompt, team_tools,
};
use agent_team_tools::{Options, Permission, Tool, domain_tools, may_use};

use crate::worker::ExitReport;

/// The model of this member: the configured one, else the first one that is available. `secrets` and keys are kept out
/// of recordings; `settings` is the user's `config.toml`.
///
/// # Errors
/// If there is none, or it can never be used; a restart would not help.
pub(crate) async fn model_of(
    agent: &AgentSpec,
    member: &str,
    environment: &BTreeMap<String, String>,
    mut secrets: Vec<String>,
    settings: &Path,
) -> Result<Arc<dyn Model>, ExitReport> {
    let surroundings = OpenConfig {
        environment: environment.clone(),
        catalogue: Catalogue::with(settings).map_err(|error| unfit(&error))?,
        providers: agent.providers.clone(),
        ..OpenConfig::default()
    };
    let name = match &agent.model {
        Some(name) => name.parse().map_err(|error| unfit(&error))?,
        None => {
            let choice = choose(&surroundings).await;
            choice.map_err(|error| unfit(&error))?.name
        }
    };
    let model = open(&name, member, &surroundings).map_err(|error| unfit(&error))?;
    let Some(record) = &agent.record else {
        return Ok(Arc::from(model));
    };
    let vars = PROVIDERS.iter().flat_map(|provider| provider.key_vars);
    secrets.extend(vars.filter_map(|var| environment.get(*var).cloned()));
    match Recorder::open(model, record, member, secrets) {
        Ok(recorder) => Ok(Arc::new(recorder)),
        Err(error) => Err(unfit(&error)),
    }
}

/// The model that would be used, and the reason.
pub(crate) async fn explain(
    agent: &AgentSpec,
    environment: BTreeMap<String, String>,
    settings: &Path,
) -> Result<(String, String), String> {
    let surroundings = OpenConfig {
        environment,
        catalogue: Catalogue::with(settings).map_err(|error| with_causes(&error))?,
        providers: agent.providers.clone(),
        ..OpenConfig::default()
    };
    let Some(name) = &agent.model else {
        let choice = choose(&surroundings).await;
        let choice = choice.map_err(|error| with_causes(&error))?;
        return Ok((choice.name.to_string(), choice.why));
    };
    let name: ModelName = name.parse().map_err(|error| with_causes(&error))?;
    let why = surroundings
        .why(&name)
        .map_err(|error| with_causes(&error))?;
    Ok((name.to_string(), why))
}

fn unfit(error: &dyn std::error::Error) -> ExitReport {
    ExitReport {
        code: ExitCode::NotFound as u8,
        reason: with_causes(error),
        hold: true,
    }
}

/// How this member's calls get permission.
pub(crate) fn permission_of(agent: &AgentSpec, client: &SupervisorClient) -> Permission {
    match agent.bypass {
        true => Permission::Bypass,
        false => Permission::Ask(client.clone()),
    }
}

/// The tools of this member: the team's tools, and those built-in tools that its role permits.
pub(crate) fn tools_of(
    agent: &AgentSpec,
    client: &SupervisorClient,
    shared: &Shared,
    confinement: Option<Arc<Confinement>>,
) -> Vec<Box<dyn Tool>> {
    let permission = permission_of(agent, client);
    let mut tools = domain_tools(Options {
        permission: permission.clone(),
        confinement,
        private_addresses: false,
    });
    tools.retain(|tool| may_use(agent, &tool.spec().name));
    if agent.must_plan {
        tools = plan_first(tools, client);
        tools.push(plan_tool(client, shared));
    }
    tools.extend(team_tools(client, shared, &permission));
    if client.lead && agent.may_allow {
        tools.extend(request_tools(client, shared));
    }
    tools
}

/// The system prompt.
pub(crate) fn system_of(
    client: &SupervisorClient,
    agent: &AgentSpec,
    team: &TeamView,
    cwd: &Path,
) -> String {
    system_prompt(&Briefing {
        client,
        agent,
        team,
        cwd,
        platform: &format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        date: &jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
    })
}
