//! Reads the team file `.agent-team/team.toml`, the role files and the user's overrides into a [`TeamSpec`]. Called by
//! the CLI and by the embedding library.
//!
//! All faults are collected with file, line and column and reported together; no key of the team file is silently
//! ignored. Loading never talks to a supervisor and never changes a file.

mod agent;
mod budget;
mod commands;
mod convert;
mod engine;
mod environment;
mod hooks;
mod instructions;
mod mcp;
mod member;
mod mode;
mod names;
mod notify;
mod open;
mod overrides;
mod permissions;
mod provider;
pub mod reference;
mod role;
mod search;
mod settings;
mod skills;
mod source;
mod strategy;
mod table;
mod task;
#[cfg(test)]
mod tests;
mod trust;
mod unsupported;
mod user_config;
mod variables;

use std::collections::HashMap;
use std::path::Path;

use agent_team_protocol::engine::{Engine, LEAD_ENGINE};
use agent_team_protocol::placement::PlacementChoice;
use agent_team_protocol::spec::{AgentSpec, CommandFile, Layout, Limits, McpServer, TeamSpec};
use agent_team_protocol::{TeamId, TeamName, with_causes};

use agent::{AgentKeys, Reader};
use commands::FoundCommands;
use instructions::FoundInstructions;
use member::{Defaults, LAYOUTS, Member, placements};
use mode::{MODES, Mode};
use names::slug;
use open::{open, parse_toml};
use role::Roles;
use skills::FoundSkills;
use source::Source;
use table::{At, Table};
use trust::ProjectTexts;
use unsupported::Level;
use user_config::UserConfig;

pub use convert::{Converted, Origin, OtherProgram};
pub use member::check_variable;
pub use open::{DIRECTORY, FILE, LoadTeamError, find};
pub use overrides::{Item, Key, KeyError, Overrides, OverridesError, Setting};
pub use permissions::{allow_always, revoke_always};
pub use role::{Layer, RoleDefinition, RoleSource};
pub use source::Fault;
pub use table::suggest;
pub use trust::{ABSENT, RequiredTrust, of_spawned};
pub use variables::{Variables, is_variable};

/// Maximum number of members whose panes share a window. In a larger team, each member has a window, unless the team
/// file sets the layout.
const MAX_SHARED_WINDOW: usize = 12;

/// Inputs for reading a team file, in addition to its text.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The directory to which the path of the team file is relative in messages. It also determines the project of a
    /// generated team.
    pub here: &'a Path,
    /// The directory of the user's settings and roles.
    pub settings: Option<&'a Path>,
    /// The values of `{{name}}`. `None`: the values are not known yet, and variables are not replaced.
    pub variables: Option<&'a Variables>,
    /// Overrides to use instead of the overrides stored in `settings`, to preview their effect.
    pub overrides: Option<&'a Overrides>,
}

/// The result of reading a team file.
#[derive(Debug)]
pub struct Loaded {
    pub spec: TeamSpec,
    /// Warnings about changed or ignored parts of imported roles, overrides without effect, absent scripts, and a lead
    /// that takes no goal. Also about instruction files, skills and command files that are not loaded.
    pub warnings: Vec<Fault>,
    /// The current values of all keys of `agent-team config`.
    pub settings: Vec<Setting>,
    /// The parts that require the user's trust. `None`: no part requires trust.
    pub required_trust: Option<RequiredTrust>,
}

/// Reads a team file, and the roles of its project and of the user.
///
/// # Errors
/// If the file cannot be read, or if the file, a role in use or the user's settings have faults.
pub fn load(file: &Path, reading: Reading<'_>) -> Result<Loaded, LoadTeamError> {
    let (shown, text, project) = open(file, reading.here)?;
    parse(&shown, &text, &project, reading).map_err(LoadTeamError::Faults)
}

/// Parses the text of a team file that an embedding program provides.
///
/// # Errors
/// All faults of the text, of the roles in use and of the user's settings.
pub fn of_text(text: &str, project: &Path, reading: Reading<'_>) -> Result<TeamSpec, Vec<Fault>> {
    Ok(parse("the team", text, project, reading)?.spec)
}

/// Converts the agents and teams of another program into the text of a team file, and reads the text back. Changes no
/// file. `shown` is the path for messages of the file in which the caller stores the text; `origin.project` must be
/// canonical.
///
/// # Errors
/// The faults of the other program's files, of the project's files and of the user's own files. Also if there is
/// nothing to convert.
pub fn convert(
    origin: &Origin<'_>,
    shown: &str,
    reading: Reading<'_>,
) -> Result<Converted, LoadTeamError> {
    let project = origin.project;
    let known = roles(None, project, reading)?;
    let overrides = Overrides::default();
    let reader = Reader {
        project,
        variables: None,
        overrides: &overrides,
    };
    let converted = convert::convert(origin, &known, reader).map_err(LoadTeamError::Faults)?;
    // The text must contain no variable. With an empty map, a variable is a fault; with `None`, it would be accepted.
    let reading = Reading {
        variables: Some(&Variables::new()),
        ..reading
    };
    let loaded = parse(shown, &converted.text, project, reading).map_err(LoadTeamError::Faults)?;
    let faults = converted.differences(&loaded.spec);
    match faults.is_empty() {
        true => Ok(converted),
        false => Err(LoadTeamError::Faults(faults)),
    }
}

/// The default team of a project without a team file: a lead and `workers` workers. The project is the repository
/// around [`Reading::here`], or else that directory itself. `engine`: a word of [`engine_words`], for all members and
/// for members that are spawned later; `None`: the native engine.
///
/// # Errors
/// If `here` cannot be resolved, or if a role in use or the user's settings have faults.
pub fn of_workers(
    workers: u32,
    engine: Option<&str>,
    reading: Reading<'_>,
) -> Result<Loaded, LoadTeamError> {
    let mut text = format!(
        "mode = \"lead\"\n[limits]\nteammates = {}\n",
        Limits::default().teammates.max(workers)
    );
    if let Some(engine) = engine {
        text.push_str(&format!(
            "[defaults]\nengine = {engine:?}\n[lead]\nengine = {engine:?}\n"
        ));
    }
    let engine = engine.unwrap_or("native");
    for number in 1..=workers {
        text.push_str(&format!(
            "[[member]]\nname = \"worker-{number}\"\nrole = \"worker\"\nengine = {engine:?}\n"
        ));
    }
    generated(&text, reading)
}

/// The team of a project without a team file, led by a chat session of another program. `name`: the name of the team;
/// by default, the name of the project's directory.
///
/// # Errors
/// As [`of_workers`].
pub fn of_chat_session(
    name: Option<&TeamName>,
    reading: Reading<'_>,
) -> Result<Loaded, LoadTeamError> {
    let name = name.map(|name| format!("name = \"{name}\"\n"));
    let text = format!(
        "{}mode = \"lead\"\n[lead]\nengine = \"joined\"\nplacement = \"headless\"\n",
        name.unwrap_or_default()
    );
    generated(&text, reading)
}

/// Reads the text of a generated team file. The project is the repository around [`Reading::here`], or else that
/// directory itself.
fn generated(text: &str, reading: Reading<'_>) -> Result<Loaded, LoadTeamError> {
    let shown = "generated team file";
    let here = reading.here.canonicalize();
    let here = here.map_err(|source| LoadTeamError::Project {
        file: shown.to_owned(),
        source,
    })?;
    let project = trust::repository_around(&here);
    parse(shown, text, project.unwrap_or(&here), reading).map_err(LoadTeamError::Faults)
}

/// Every role of a project, by name. Faults in tables other than `[roles]` are not reported.
///
/// # Errors
/// If the team file cannot be read or is not TOML, or if its `name`, its `[roles]` or the user's overrides have faults.
pub fn roles(
    file: Option<&Path>,
    project: &Path,
    reading: Reading<'_>,
) -> Result<Vec<RoleDefinition>, LoadTeamError> {
    let (shown, text, project) = match file {
        Some(file) => open(file, reading.here)?,
        None => (String::new(), String::new(), project.to_owned()),
    };
    let source = Source::new(shown, &text);
    let document = parse_toml(&source, &text).map_err(LoadTeamError::Faults)?;
    let mut root = Table::new(&source, document.get_ref(), Level::Root, 0);
    let name = team_name(&source, &mut root, &project);
    let (overrides, overrides_fault) = overrides(name.as_ref(), &project, reading);
    let reader = Reader {
        project: &project,
        variables: reading.variables,
        overrides: &overrides,
    };
    let table = root.table("roles", Level::Roles);
    let config = UserConfig::read(reading.settings, reader);
    let roles = Roles::read(&source, table, reading.settings, config.roles, reader);
    let mut faults = source.take_faults();
    faults.extend(overrides_fault);
    if faults.is_empty() {
        Ok(roles.views())
    } else {
        Err(LoadTeamError::Faults(faults))
    }
}

/// Reads the text of a team file. `project` must be canonical.
fn parse(
    file: &str,
    text: &str,
    project: &Path,
    reading: Reading<'_>,
) -> Result<Loaded, Vec<Fault>> {
    let source = Source::new(file, text);
    let document = parse_toml(&source, text)?;
    let mut root = Table::new(&source, document.get_ref(), Level::Root, 0);
    let name = team_name(&source, &mut root, project);
    let (overrides, overrides_fault) = overrides(name.as_ref(), project, reading);
    let reader = Reader {
        project,
        variables: reading.variables,
        overrides: &overrides,
    };
    let (loaded, role_faults) = read(&source, name, root, reading.settings, reader);
    let mut faults = source.take_faults();
    faults.extend(role_faults);
    faults.extend(overrides_fault);
    match loaded {
        Some(loaded) if faults.is_empty() => Ok(loaded),
        Some(_) | None => Err(faults),
    }
}

fn overrides(
    name: Option<&TeamName>,
    project: &Path,
    reading: Reading<'_>,
) -> (Overrides, Option<Fault>) {
    if let Some(overrides) = reading.overrides {
        return (overrides.clone(), None);
    }
    let (Some(name), Some(settings)) = (name, reading.settings) else {
        return (Overrides::default(), None);
    };
    match Overrides::load(settings, &TeamId::new(name, project)) {
        Ok(overrides) => (overrides, None),
        Err(OverridesError::Fault(fault)) => (Overrides::default(), Some(fault)),
        Err(error @ (OverridesError::Read(..) | OverridesError::Write(..))) => {
            let fault = Fault {
                file: settings.display().to_string(),
                line: 1,
                column: 1,
                message: with_causes(&error),
                hint: None,
            };
            (Overrides::default(), Some(fault))
        }
    }
}

/// Reads the tables of the file. Returns no team if its name is invalid. Faults of the file go to `source`; faults of
/// role files and of the user's settings are returned.
fn read(
    source: &Source<'_>,
    name: Option<TeamName>,
    mut root: Table<'_>,
    settings: Option<&Path>,
    reader: Reader<'_>,
) -> (Option<Loaded>, Vec<Fault>) {
    let project = reader.project;
    let mode = root.word("mode", MODES);
    let strategy = strategy::read(source, &mut root, mode, reader);
    let config = UserConfig::read(settings, reader);
    let mut servers = mcp::read(source, root.table("mcp", Level::Mcp));
    let table = root.table("roles", Level::Roles);
    let mut roles = Roles::read(source, table, settings, config.roles, reader);
    let mut defaults = Defaults::read(
        source,
        root.table("defaults", Level::Defaults),
        &roles,
        reader,
        mode.map(|found| found.value),
    );
    let table = root.table("providers", Level::Providers);
    let providers = provider::read(source, table, reader.project, reader.overrides);
    defaults.agent_keys.providers = providers.specs;
    defaults.agent_keys.servers.clone_from(&servers);
    roles.check_servers(source, &servers);
    // Without the user's settings, ignore the user's home directory too.
    let home = settings.and_then(|_| std::env::home_dir());
    defaults.agent_keys.found_instructions =
        FoundInstructions::find(project, settings, home.as_deref());
    defaults.agent_keys.found_commands = FoundCommands::find(project, settings, home.as_deref());
    defaults.agent_keys.found_skills = FoundSkills::find(project, settings, home.as_deref());
    let (placement, layout) = panes(root.table("panes", Level::Panes));
    let mut limits = limits(root.table("limits", Level::Limits));
    let budget_of_file = limits.budget;
    limits.budget = reader.overrides.budget(budget_of_file, Key::Team);
    let found_hooks = hooks::read(source, root.table("hooks", Level::Hooks));
    let mut user_hooks = config.hooks;
    let mut notify_of_file = notify::read(source, &mut root);
    let permissions = root.table("permissions", Level::Permissions);
    let permissions = permissions.map(|table| permissions::read(source, table));
    let permissions = permissions.unwrap_or_default();
    let mut user_permissions: Vec<_> = config.permissions.into_iter().collect();
    let mut settings_faults = config.faults;
    if let (Some(settings), Some(name)) = (settings, &name) {
        let (of_team, faults) = permissions::of_team(settings, &TeamId::new(name, project));
        user_permissions.extend(of_team);
        settings_faults.extend(faults);
    }
    if config.notify.is_some() {
        // The user's own setting takes precedence, so the project's setting needs no trust.
        notify_of_file = None;
    }
    let search_of_file = search::read(source, root.table("search", Level::Search));
    let search = search_of_file.clone().or(config.search);

    let lead = root
        .table("lead", Level::Lead)
        .map(|table| (Level::Lead, table));
    let others = root.tables("member", Level::Member);
    let others = others.into_iter().map(|table| (Level::Member, table));
    let tables: Vec<_> = lead.into_iter().chain(others).collect();
    let no_tables = tables.is_empty();
    let mut members: Vec<Member> = tables
        .into_iter()
        .filter_map(|(level, table)| {
            member::read(source, table, level, &defaults, &mut roles, reader)
        })
        .collect();
    let lead_of_lines = ensure_lead(source, mode, &mut members, &defaults, &mut roles, reader);
    strategy::check(source, mode, &members);
    environment::check(source, &members);
    mcp::check_shared(source, &members);
    check_members(source, &members, limits);

    let tables = root.tables("task", Level::Task);
    if let (Some(first), true) = (tables.first(), no_tables && members.is_empty()) {
        source.fault_with_hint(
            first.at,
            "there are tasks but no member to do them",
            "add [[member]] with name = \"ada\" and engine = \"command\"",
        );
    }
    let tasks = task::read(source, tables, &members, &roles);
    root.finish();

    let has_agents = members.iter().any(|member| member.spec.engine.uses_model());
    found_hooks.check(source, has_agents, !members.is_empty());
    let hooks::HooksOfFile {
        hooks,
        of_agents: mut hooks_of_file,
        ..
    } = found_hooks;
    let project_texts = match has_agents {
        true => project_texts(&defaults, &members, &roles),
        false => ProjectTexts::default(),
    };
    let settings = settings::list(
        source,
        &defaults,
        budget_of_file,
        &members,
        &roles,
        reader.overrides,
    );
    let networked = networked(&defaults, &members, &roles);
    let trust::Trust {
        required_trust,
        trusted,
        protected,
    } = trust::of(trust::Team {
        project,
        permissions: &permissions,
        user: &user_permissions,
        hooks: &hooks,
        agent_hooks: &mut hooks_of_file,
        user_hooks: &mut user_hooks,
        notify: notify_of_file.as_mut(),
        servers: &mut servers,
        networked,
        external: trust::external(&defaults, &members, &roles),
        texts: &project_texts,
        home: home.as_deref(),
        defaults: &defaults,
        members: &members,
        tasks: &tasks,
        search: search_of_file.as_ref(),
        providers: &defaults.agent_keys.providers,
        certificate_files: &providers.certificate_files,
    });
    let mut warnings = settings::ineffective(&members, &roles, reader.overrides);
    warnings.extend(lead_of_lines);
    let found_instructions = defaults.agent_keys.found_instructions.clone();
    let found_skills = defaults.agent_keys.found_skills.clone();
    let found_commands = defaults.agent_keys.found_commands.clone();
    if has_agents {
        warnings.extend(found_instructions.warnings.iter().cloned());
        warnings.extend(found_instructions.take_warnings_below());
        warnings.extend(found_skills.warnings.iter().cloned());
        warnings.extend(found_commands.warnings.iter().cloned());
    }
    let mut roles = roles.finish(defaults.engine, &defaults.agent_keys);
    warnings.extend(roles.warnings);
    warnings.extend(trust::absent_scripts(source, project, &protected));
    let mut members: Vec<_> = members
        .into_iter()
        .map(|member| member.finish(&defaults, &strategy))
        .collect();
    let agents = members
        .iter_mut()
        .filter(|member| member.engine.uses_model());
    let of_members = agents.map(|member| &mut member.agent);
    // Include roles with the command engine: after `spawn --engine native`, a member in any role can be an agent.
    let of_roles = roles.specs.iter_mut().map(|role| &mut role.agent);
    for agent in of_members.chain(of_roles) {
        // Replace the servers: `servers` now contains the digests of the scripts.
        let is_chosen = |server: &&McpServer| agent.mcp.iter().any(|it| it.name == server.name);
        agent.mcp = servers.iter().filter(is_chosen).cloned().collect();
        // The user's hooks are last, so they receive a call with the changes that the file's hooks have made.
        agent.hooks = [hooks_of_file.as_slice(), &user_hooks].concat();
        agent.search.clone_from(&search);
        if !has_agents {
            // For a team without agents, the user was not asked to trust the project's instruction files, skills and
            // commands.
            agent
                .instructions
                .retain(|file| found_instructions.is_own(file));
            agent.skills.retain(|skill| found_skills.is_own(skill));
            agent
                .commands
                .retain(|command| found_commands.is_own(command));
        }
    }
    let permission_defaults = permissions::defaults(&permissions, &user_permissions);
    let layout = layout.unwrap_or(match members.len() {
        0..=MAX_SHARED_WINDOW if members.iter().any(|member| member.lead) => Layout::MainVertical,
        0..=MAX_SHARED_WINDOW => Layout::Tiled,
        _ => Layout::Windows,
    });
    let spec = name.map(|name| TeamSpec {
        name,
        project: project.to_owned(),
        placement,
        layout,
        limits,
        hooks,
        notify: config.notify.or(notify_of_file).unwrap_or_default(),
        permissions: permissions.rules,
        own_permissions: user_permissions
            .into_iter()
            .map(|settings| settings.rules)
            .collect(),
        permission_defaults,
        roles: roles.specs,
        members,
        tasks,
        trusted,
        protected,
    });
    let loaded = spec.map(|spec| Loaded {
        spec,
        warnings,
        settings,
        required_trust,
    });
    let mut faults = roles.faults;
    faults.extend(settings_faults);
    (loaded, faults)
}

/// The members and roles to which the project's files give network access, for the trust question.
fn networked(defaults: &Defaults, members: &[Member], roles: &Roles) -> Vec<String> {
    let all = defaults.set_keys.network.then(|| "all members".to_owned());
    let members = members.iter().filter(|member| member.set_keys.network);
    let members = members.map(|member| format!("member {}", member.spec.name));
    let roles = roles.networked().map(|role| format!("role {role}"));
    all.into_iter().chain(members).chain(roles).collect()
}

/// The project's texts that agents, and members spawned in any role, receive.
fn project_texts(defaults: &Defaults, members: &[Member], roles: &Roles) -> ProjectTexts {
    let AgentKeys {
        found_instructions,
        found_skills,
        found_commands,
        ..
    } = &defaults.agent_keys;
    let agents = members
        .iter()
        .filter(|member| member.spec.engine.uses_model());
    let mut agents: Vec<AgentSpec> = agents.map(|member| member.agent.clone()).collect();
    agents.extend(roles.agents(&defaults.agent_keys));
    let files = agents.iter().flat_map(|agent| &agent.instructions);
    let files = files.filter(|file| !found_instructions.is_own(file));
    let has_skill = |name: &str| {
        let mut skills = agents.iter().flat_map(|agent| &agent.skills);
        skills.any(|skill| skill.name == name)
    };
    let skills = found_skills.of_project().iter();
    let has_command = |command: &&CommandFile| {
        let mut agents = agents.iter();
        agents.any(|agent| agent.commands.contains(command))
    };
    let commands = found_commands.of_project().iter();
    ProjectTexts {
        instructions: files.map(|file| file.path.clone()).collect(),
        skills: skills
            .filter(|(skill, _)| has_skill(&skill.name))
            .cloned()
            .collect(),
        commands: commands.filter(has_command).cloned().collect(),
    }
}

/// Ensures that the lead of a team of agents is an agent: the file's lead, or else the default lead. Returns a warning
/// for a team of commands whose file contains a lead and sets neither the lead's `engine` nor `mode`.
fn ensure_lead(
    source: &Source<'_>,
    mode: Option<At<Mode>>,
    members: &mut Vec<Member>,
    defaults: &Defaults,
    roles: &mut Roles,
    reader: Reader<'_>,
) -> Option<Fault> {
    let is_agent = |member: &Member| member.spec.engine.is_agent();
    let default_mode = if defaults.engine.is_agent() || members.iter().any(is_agent) {
        Mode::Lead
    } else {
        Mode::Manual
    };
    let mode = mode.map(|found| found.value);
    if mode.unwrap_or(default_mode) == Mode::Manual {
        let silent = |it: &&Member| it.spec.lead && it.engine_at.is_none() && mode.is_none();
        let lead = members.iter().find(silent)?;
        let text = format!(
            "the lead only runs the commands of tasks and takes no goal; to make it an agent, {LEAD_ENGINE}"
        );
        return Some(source.warning(lead.set_keys.at, text));
    }
    match members.iter_mut().find(|member| member.spec.lead) {
        None => members.insert(0, Member::lead(defaults, roles, reader)),
        Some(lead) if lead.spec.engine.info().is_none_or(|info| info.may_lead) => {}
        Some(lead) => match lead.engine_at {
            None => lead.spec.engine = Engine::Native,
            Some(at) => {
                // Without `mode`, the file does not require an agent, so the lead may have another engine.
                let mode = mode?;
                source.fault_with_hint(
                    at,
                    format!(
                        "with `mode = \"{}\"` the lead must be an agent, but this engine is for commands and programs",
                        mode.word()
                    ),
                    "set engine = \"native\", or mode = \"manual\"",
                );
            }
        },
    }
    None
}

/// Why an engine name is refused.
#[derive(Debug)]
pub enum EngineError {
    Unsupported,
    Unknown { hint: String },
}

/// The engine names that the command line accepts. It does not accept an engine that needs a program, such as
/// `terminal`.
pub fn engine_words() -> Vec<&'static str> {
    let words = engine::engine_words().into_iter();
    words.map(|(word, _)| word).collect()
}

/// The engine of this name, for the command line. All names of external agents return [`Engine::External`]; the caller
/// must keep the name, because it determines the agent's program.
///
/// # Errors
/// If there is no engine of this name, or the command line or this version does not support it.
pub fn engine(text: &str) -> Result<Engine, EngineError> {
    let mut known = engine::engine_words().into_iter();
    if let Some((_, engine)) = known.find(|(word, _)| *word == text) {
        return Ok(engine);
    }
    // The engine `terminal` needs a program, and the command line cannot name one.
    if unsupported::is_value("engine", text) || text == Engine::Terminal.name() {
        return Err(EngineError::Unsupported);
    }
    Err(EngineError::Unknown {
        hint: table::suggest(text, &engine_words()),
    })
}

fn team_name(source: &Source<'_>, root: &mut Table<'_>, project: &Path) -> Option<TeamName> {
    let Some(found) = root.string("name") else {
        let directory = project.file_name().unwrap_or_default();
        return Some(slug(&directory.to_string_lossy()));
    };
    found
        .value
        .parse()
        .map_err(|error| source.fault(found.at, format!("{error}")))
        .ok()
}

/// Reads `[panes]`. The layout is `None` if the file does not set it; the default depends on the members.
fn panes(table: Option<Table<'_>>) -> (PlacementChoice, Option<Layout>) {
    let (mut placement, mut layout) = (PlacementChoice::Auto, None);
    if let Some(mut table) = table {
        placement = table
            .word("placement", &placements())
            .map_or(placement, |found| found.value);
        layout = table.word("layout", LAYOUTS).map(|found| found.value);
        table.finish();
    }
    (placement, layout)
}

fn limits(table: Option<Table<'_>>) -> Limits {
    let mut limits = Limits::default();
    if let Some(mut table) = table {
        let mut at_least_one = |key| table.integer(key, 1..=i32::MAX).map(i32::unsigned_abs);
        limits.teammates = at_least_one("teammates").unwrap_or(limits.teammates);
        limits.starting = at_least_one("starting").unwrap_or(limits.starting);
        limits.budget = budget::read(&mut table);
        table.finish();
    }
    limits
}

fn check_members(source: &Source<'_>, members: &[Member], limits: Limits) {
    let mut first: HashMap<&str, usize> = HashMap::new();
    for member in members {
        let name = member.spec.name.as_str();
        if let Some(at) = first.get(name) {
            let line = source.line(*at);
            source.fault(
                member.at,
                format!("name {name:?} is already used by the member on line {line}"),
            );
        } else {
            first.insert(name, member.at);
        }
    }
    let most = limits.teammates as usize;
    let teammates: Vec<&Member> = members.iter().filter(|it| !it.spec.lead).collect();
    if let Some(first_excess) = teammates.get(most) {
        let count = teammates.len();
        source.fault_with_hint(
            first_excess.at,
            format!("the team has {count} teammates, but `limits.teammates` is {most}"),
            format!("set teammates = {count} under [limits]"),
        );
    }
}
