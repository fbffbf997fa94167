//! Builds the dependencies of a native member: its model, its tools and its system prompt. Called when a worker builds
//! its agent, by the agent loop, and by `doctor`, which explains the choice of the model. No other module of this crate
//! chooses a model.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_team_llm::Model;
use agent_team_llm::catalogue::Catalogue;
use agent_team_llm::choose::choose;
use agent_team_llm::fallback::FallbackModel;
use agent_team_llm::open::{OpenConfig, open};
use agent_team_llm::recording::Recorder;
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::spec::AgentSpec;
use agent_team_protocol::view::TeamView;
use agent_team_protocol::with_causes;
use agent_team_providers::{ModelName, PROVIDERS};
use agent_team_tools::confine::Confinement;
use agent_team_tools::custom::CustomTool;
use agent_team_tools::supervisor_client::SupervisorClient;
use agent_team_tools::team::{
    Briefing, Shared, plan_first, plan_tool, request_tools, situation, small_window, system_prompt,
    team_tools,
};
use agent_team_tools::{
    APPLY_PATCH, Options, Permission, Tool, domain_tools, may_use, notes, skill,
};
use serde::Serialize;

use super::delegate_models::HelperModels;
use crate::worker::ExitReport;

/// The time after which another model replaces an overloaded model, unless the agent sets the time for its fallbacks.
const OVERLOADED: Duration = Duration::from_secs(180);

/// The models of a member.
#[derive(Debug)]
pub(crate) struct Models {
    pub(crate) main: Arc<dyn Model>,
    /// The model that writes summaries. `None`: the main model does.
    pub(crate) compact: Option<Arc<dyn Model>>,
    pub(crate) helpers: HelperModels,
}

impl From<Arc<dyn Model>> for Models {
    fn from(main: Arc<dyn Model>) -> Self {
        Self {
            helpers: HelperModels::shared(Arc::clone(&main)),
            main,
            compact: None,
        }
    }
}

/// The models of this member: the configured model, or else the first available model; the model that writes its
/// summaries; and the models of its helpers. `settings` is the user's `config.toml`; `secrets` and the providers' keys
/// are never written to a recording. `usd_limit`: a limit in dollars applies to the member.
///
/// # Errors
/// If a limit in dollars applies and the price of a model is unknown, if the user's `config.toml` or a model's name is
/// invalid, if no model is available, if none of the configured models can be opened, or if the model for summaries, the
/// model of helpers or the recording cannot be opened. A restart would not help, so the member is held.
pub(crate) async fn models_of(
    agent: &AgentSpec,
    member: &str,
    environment: &BTreeMap<String, String>,
    mut secrets: Vec<String>,
    settings: &Path,
    usd_limit: bool,
) -> Result<Models, ExitReport> {
    let mut config = open_config(agent, environment, settings)?;
    let name = match &agent.model {
        Some(name) => name.parse().map_err(|error| no_model(&error))?,
        None => {
            let choice = choose(&config).await;
            choice.map_err(|error| no_model(&error))?.name
        }
    };
    let mut models = vec![name];
    for fallback in &agent.fallbacks {
        models.push(fallback.parse().map_err(|error| no_model(&error))?);
    }
    for name in &models {
        config.ask_window(name).await;
    }
    let others = OtherModels::of(agent, &models[0]);
    others.ask_windows(&mut config).await;
    let mut opened = Vec::new();
    let mut unpriced = Vec::new();
    let mut warnings = Vec::new();
    let mut first_error = None;
    let overloaded = agent.fallback_ms.map_or(OVERLOADED, Duration::from_millis);
    // Open the models from the last to the first: only the last usable model is retried without a limit.
    for name in models.iter().rev() {
        let config = OpenConfig {
            retry_limit: (!opened.is_empty()).then_some(overloaded),
            ..config.clone()
        };
        match open(name, member, &config) {
            Ok(model) => {
                if !config.knows_cost_of(name) {
                    unpriced.push(name.to_string());
                }
                opened.push(model);
            }
            Err(error) => {
                warnings.push(unusable(name, &error));
                first_error = Some(error);
            }
        }
    }
    opened.reverse();
    warnings.reverse();
    if let (true, Some(error)) = (opened.is_empty(), &first_error) {
        return Err(no_model(error));
    }
    unpriced.extend(others.unpriced(&config));
    if let (true, Some(name)) = (usd_limit, unpriced.first()) {
        return Err(no_price(name));
    }
    let main: Arc<dyn Model> = Arc::new(FallbackModel::new(opened).with_warnings(warnings));
    let OpenedModels { compact, delegate } = others.open(member, &config).map_err(no_other)?;
    let helpers = match &models[0] {
        ModelName::Replay(_) => {
            let (name, config) = (models[0].clone(), config.clone());
            HelperModels::new(move |helper| {
                let model = open(&name, helper, &config);
                model.map(Arc::from).map_err(|error| with_causes(&error))
            })
        }
        ModelName::Of { .. } => HelperModels::shared(delegate.unwrap_or(Arc::clone(&main))),
    };
    let Some(record) = &agent.record else {
        return Ok(Models {
            main,
            compact,
            helpers,
        });
    };
    let vars = PROVIDERS.iter().flat_map(|provider| provider.key_vars);
    secrets.extend(vars.filter_map(|var| environment.get(*var).cloned()));
    let helpers = helpers.recorded(record.clone(), secrets.clone());
    let recorder = Recorder::open(main, record, member, secrets);
    let recorder = recorder.map_err(|error| no_model(&error))?;
    let compact = compact.map(|compact| Arc::new(recorder.beside(compact)) as Arc<dyn Model>);
    Ok(Models {
        main: Arc::new(recorder),
        compact,
        helpers,
    })
}

/// Holds the member: tokens without a price add nothing to the cost in dollars, so the limit would have no effect. A
/// restart would not help.
fn no_price(name: &str) -> ExitReport {
    ExitReport {
        code: ExitCode::Usage as u8,
        reason: format!("cannot apply limits.usd: the price of {name} is unknown"),
        hold: true,
    }
}

/// The models of a member whose main model an embedding program supplies.
///
/// # Errors
/// If the user's `config.toml` is invalid, or if the model for summaries or the model of helpers cannot be opened.
pub(crate) async fn models_around(
    main: Arc<dyn Model>,
    agent: &AgentSpec,
    member: &str,
    environment: &BTreeMap<String, String>,
    settings: &Path,
) -> Result<Models, ExitReport> {
    let others = OtherModels::of_agent(agent);
    if others.names().next().is_none() {
        return Ok(main.into());
    }
    let mut config = open_config(agent, environment, settings)?;
    others.ask_windows(&mut config).await;
    let OpenedModels { compact, delegate } = others.open(member, &config).map_err(no_other)?;
    Ok(Models {
        helpers: HelperModels::shared(delegate.unwrap_or(Arc::clone(&main))),
        main,
        compact,
    })
}

fn open_config(
    agent: &AgentSpec,
    environment: &BTreeMap<String, String>,
    settings: &Path,
) -> Result<OpenConfig, ExitReport> {
    Ok(OpenConfig {
        environment: environment.clone(),
        catalogue: Catalogue::with(settings).map_err(|error| no_model(&error))?,
        providers: agent.providers.clone(),
        effort: agent.effort,
        ..OpenConfig::default()
    })
}

/// The configured models beside the main one.
#[derive(Debug, Default)]
struct OtherModels<'a> {
    /// The model for summaries.
    compact: Option<&'a str>,
    /// The model of helpers.
    delegate: Option<&'a str>,
}

impl<'a> OtherModels<'a> {
    /// Empty if the main model is replayed: its recording contains the exchanges of the other models as well.
    fn of(agent: &'a AgentSpec, main: &ModelName) -> Self {
        match main {
            ModelName::Replay(_) => Self::default(),
            ModelName::Of { .. } => Self::of_agent(agent),
        }
    }

    fn of_agent(agent: &'a AgentSpec) -> Self {
        let delegate = agent.delegate.as_ref();
        Self {
            compact: agent.compact.as_deref(),
            delegate: delegate.and_then(|delegate| delegate.model.as_deref()),
        }
    }

    fn names(&self) -> impl Iterator<Item = &'a str> {
        [self.compact, self.delegate].into_iter().flatten()
    }

    /// Asks for the windows of the models. Ignores an invalid name: opening the model reports it.
    async fn ask_windows(&self, config: &mut OpenConfig) {
        for name in self.names() {
            if let Ok(name) = name.parse::<ModelName>() {
                config.ask_window(&name).await;
            }
        }
    }

    /// The models whose cost would be unknown.
    fn unpriced(&self, config: &OpenConfig) -> impl Iterator<Item = String> {
        let names = self.names().filter_map(|name| name.parse().ok());
        let unpriced = names.filter(|name: &ModelName| !config.knows_cost_of(name));
        unpriced.map(|name| name.to_string())
    }

    /// Opens the models. The error is a text for the user.
    fn open(&self, member: &str, config: &OpenConfig) -> Result<OpenedModels, String> {
        let open = |key: &str, name: Option<&str>| {
            let model = name.map(|name| open_other(key, name, member, config));
            Ok::<_, String>(model.transpose()?.map(Arc::from))
        };
        Ok(OpenedModels {
            compact: open("compact", self.compact)?,
            delegate: open("delegate.model", self.delegate)?,
        })
    }
}

struct OpenedModels {
    compact: Option<Arc<dyn Model>>,
    delegate: Option<Arc<dyn Model>>,
}

fn open_other(
    key: &str,
    name: &str,
    member: &str,
    config: &OpenConfig,
) -> Result<Box<dyn Model>, String> {
    let cannot = |error: &dyn std::error::Error| {
        format!("cannot use {key} = \"{name}\": {}", with_causes(error))
    };
    let parsed: ModelName = name.parse().map_err(|error| cannot(&error))?;
    let config = OpenConfig {
        retry_limit: Some(OVERLOADED),
        ..config.clone()
    };
    open(&parsed, member, &config).map_err(|error| cannot(&error))
}

fn no_other(reason: String) -> ExitReport {
    ExitReport {
        code: ExitCode::NotFound as u8,
        reason,
        hold: true,
    }
}

/// The model that an agent would use.
#[derive(Debug, Serialize)]
pub(crate) struct ExplainedModel {
    model: String,
    /// The reason, for the user.
    why: String,
    /// The agent's models whose cost would be unknown: fallbacks, the model for summaries and the model of helpers
    /// included.
    unpriced: Vec<String>,
}

/// Explains the model that the agent would use.
///
/// # Errors
/// If the user's `config.toml` or a model's name is invalid, if no model can be used, or if the model for summaries or
/// the model of helpers cannot be opened. The error is a text for the user.
pub(crate) async fn explain(
    agent: &AgentSpec,
    environment: BTreeMap<String, String>,
    settings: &Path,
) -> Result<ExplainedModel, String> {
    let config = OpenConfig {
        environment,
        catalogue: Catalogue::with(settings).map_err(|error| with_causes(&error))?,
        providers: agent.providers.clone(),
        ..OpenConfig::default()
    };
    let parse = |name: &String| {
        name.parse::<ModelName>()
            .map_err(|error| with_causes(&error))
    };
    // Each model. For a model that was chosen because none is configured, also the reason of the choice.
    let mut models = vec![match &agent.model {
        Some(name) => (parse(name)?, None),
        None => {
            let choice = choose(&config).await;
            let choice = choice.map_err(|error| error.in_lines())?;
            (choice.name, Some(choice.why))
        }
    }];
    for fallback in &agent.fallbacks {
        models.push((parse(fallback)?, None));
    }
    let mut usable = None;
    let mut unpriced = Vec::new();
    let mut first_error = None;
    let mut warnings = Vec::new();
    for (name, chosen) in models {
        match config.why(&name) {
            Ok(why) => {
                if !config.knows_cost_of(&name) {
                    unpriced.push(name.to_string());
                }
                usable = usable.or(Some((name, chosen.unwrap_or(why))));
            }
            Err(error) => {
                warnings.push(unusable(&name, &error));
                first_error = first_error.or(Some(with_causes(&error)));
            }
        }
    }
    let Some((main, mut why)) = usable else {
        return Err(first_error.unwrap_or_default());
    };
    let others = OtherModels::of(agent, &main);
    others.open("doctor", &config)?;
    unpriced.extend(others.unpriced(&config));
    for warning in warnings {
        why.push_str(&format!("; {warning}"));
    }
    Ok(ExplainedModel {
        model: main.to_string(),
        why,
        unpriced,
    })
}

/// The warning about a configured model that is skipped.
fn unusable(name: &ModelName, error: &dyn std::error::Error) -> String {
    format!("cannot use the model {name}: {}", with_causes(error))
}

fn no_model(error: &dyn std::error::Error) -> ExitReport {
    ExitReport {
        code: ExitCode::NotFound as u8,
        reason: with_causes(error),
        hold: true,
    }
}

/// The permission mode of this member's calls: ask the supervisor, or bypass.
pub(crate) fn permission_of(agent: &AgentSpec, client: &SupervisorClient) -> Permission {
    match agent.bypass {
        true => Permission::Bypass,
        false => Permission::Ask(client.clone()),
    }
}

/// The tools of this member: the team's tools, the built-in tools that its role permits, and `custom`, the tools of the
/// embedding program. `window`: the window of the member's model. If the window is small, the member has only the most
/// important tools, the built-in tools that its role names, and `custom`.
pub(crate) fn tools_of(
    agent: &AgentSpec,
    client: &SupervisorClient,
    shared: &Shared,
    confinement: Option<Arc<Confinement>>,
    custom: &[CustomTool],
    window: u64,
) -> Vec<Box<dyn Tool>> {
    let permission = permission_of(agent, client);
    let is_small = small_window::is_small(window);
    let has = |name: &str| !is_small || small_window::has_tool(name, client.lead);
    let mut tools = domain_tools(Options {
        permission: permission.clone(),
        confinement,
        private_addresses: false,
    });
    if !agent.skills.is_empty() {
        tools.push(skill::tool_for(agent.skills.clone()));
    }
    tools.retain(|tool| {
        let name = &tool.spec().name;
        // `notes` does not count as named: a role with `read` has this tool without naming it.
        let is_named = agent.tools.is_some() && name != notes::NAME;
        may_use(agent, name) && (is_named || has(name))
    });
    let shorten = |tools| match is_small {
        true => small_window::with_short_specs(tools),
        false => tools,
    };
    tools = shorten(tools);
    let (reading, changing): (Vec<_>, Vec<_>) =
        custom.iter().partition(|tool| tool.changes_nothing());
    let offer = |tool: &CustomTool| tool.for_member(client, &permission);
    tools.extend(changing.into_iter().map(offer));
    if agent.must_plan {
        tools = plan_first(tools, client);
    }
    tools.extend(reading.into_iter().map(offer));
    tools.extend(shorten(team_tools_where(agent, client, shared, has)));
    tools
}

/// The team tools of this member.
pub(crate) fn team_tools_of(
    agent: &AgentSpec,
    client: &SupervisorClient,
    shared: &Shared,
) -> Vec<Box<dyn Tool>> {
    team_tools_where(agent, client, shared, |_| true)
}

/// The team tools whose names `has` accepts, and the tools for plans and requests.
fn team_tools_where(
    agent: &AgentSpec,
    client: &SupervisorClient,
    shared: &Shared,
    has: impl Fn(&str) -> bool,
) -> Vec<Box<dyn Tool>> {
    let permission = permission_of(agent, client);
    let mut tools = team_tools(client, shared, &permission, agent.may_spawn.as_deref());
    tools.retain(|tool| has(&tool.spec().name));
    if agent.must_plan {
        tools.push(plan_tool(client, shared));
    }
    if client.lead && agent.may_allow {
        tools.extend(request_tools(client, shared));
    }
    tools
}

/// Whether to offer a tool to this model. `apply_patch` suits only models that were trained to write patches. Other
/// models get this tool only if the role names it.
pub(crate) fn suits_model(agent: &AgentSpec, model: &str, tool: &str) -> bool {
    let model = model.rsplit('/').next().unwrap_or(model);
    let writes_patches = || model.starts_with("gpt-") || model.contains("codex");
    let is_named = || agent.tools.iter().flatten().any(|name| name == tool);
    tool != APPLY_PATCH || writes_patches() || is_named()
}

/// Returns the system prompt, and the situation for the beginning of the conversation. `problems`: the section about
/// tools that are missing in this launch. `instructions`: the texts of instruction files.
pub(crate) fn prompts_of(
    client: &SupervisorClient,
    agent: &AgentSpec,
    team: &TeamView,
    window: u64,
    cwd: &Path,
    instructions: &str,
    problems: &str,
) -> (String, String) {
    let briefing = Briefing {
        client,
        agent,
        team,
        cwd,
        window,
        instructions,
        platform: &format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        date: &today(),
    };
    (system_prompt(&briefing), situation(&briefing, problems))
}

/// The date, such as `2026-01-31`.
pub(crate) fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_usd_limit_needs_the_price_of_each_model() {
        let agent = AgentSpec {
            model: Some("replay:none.jsonl".into()),
            fallbacks: vec!["openai/gpt-99".into()],
            ..AgentSpec::default()
        };
        let key = BTreeMap::from([("OPENAI_API_KEY".to_owned(), "k".to_owned())]);
        let settings = Path::new("/nowhere/config.toml");
        let open = |limit| models_of(&agent, "ada", &key, Vec::new(), settings, limit);
        assert!(open(false).await.is_ok());
        let held = open(true).await.expect_err("the price is unknown");
        let reason = "cannot apply limits.usd: the price of openai/gpt-99 is unknown";
        assert!(held.hold);
        assert_eq!(held.reason, reason);
    }

    #[test]
    fn patches_are_offered_to_models_that_write_them() {
        let any = AgentSpec::default();
        let named = AgentSpec {
            tools: Some(vec![APPLY_PATCH.to_owned()]),
            ..AgentSpec::default()
        };
        for (model, expected) in [
            ("openai/gpt-5.4", true),
            ("openrouter/openai/gpt-5.1-codex", true),
            ("anthropic/claude-opus-4-5", false),
            ("ollama/qwen3:8b", false),
        ] {
            assert_eq!(suits_model(&any, model, APPLY_PATCH), expected, "{model}");
            assert!(suits_model(&named, model, APPLY_PATCH));
            assert!(suits_model(&any, model, "edit"));
        }
    }
}
