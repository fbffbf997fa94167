//! `[lead]`, `[[member]]` and `[defaults]`: the members, with values from their roles and the defaults filled in.
//! Called when the team is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent_team_protocol::engine::Engine;
use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_protocol::placement::PlacementChoice;
use agent_team_protocol::spec::{AgentSpec, Budget, ClaimPolicy, Layout, MemberSpec, Strategy};
use agent_team_protocol::value::Effort;
use agent_team_protocol::{MemberName, RoleName};

use super::agent::{self, AgentKeys, Reader};
use super::budget;
use super::engine;
use super::mode::Mode;
use super::overrides::{Item, Key, Overrides};
use super::role::{LEAD, Roles, WORKER};
use super::source::Source;
use super::table::{At, Table};
use super::unsupported::Level;

pub(super) const CLAIMS: &[(&str, ClaimPolicy)] = &[
    ("ready", ClaimPolicy::Ready),
    ("assigned", ClaimPolicy::Assigned),
];

pub(super) const LAYOUTS: &[(&str, Layout)] = &[
    ("main-vertical", Layout::MainVertical),
    ("tiled", Layout::Tiled),
    ("even-horizontal", Layout::EvenHorizontal),
    ("even-vertical", Layout::EvenVertical),
    ("windows", Layout::Windows),
];

pub(super) fn placements() -> [(&'static str, PlacementChoice); PlacementChoice::ALL.len()] {
    PlacementChoice::ALL.map(|choice| (choice.info().word, choice))
}

/// The placements that a single member can have.
pub(super) fn member_placements() -> Vec<(&'static str, PlacementChoice)> {
    let mut placements = placements().to_vec();
    placements.retain(|(_, choice)| choice.info().for_members);
    placements
}

/// The values of `[defaults]`, and built-in values for keys that it does not set.
#[derive(Debug)]
pub(super) struct Defaults {
    role: Option<RoleName>,
    pub(super) engine: Engine,
    pub(super) agent_keys: AgentKeys,
    cwd: PathBuf,
    pub(super) env: BTreeMap<String, String>,
    /// Position of each variable of `env`.
    env_at: BTreeMap<String, usize>,
    /// `None`: an agent that leads takes only assigned tasks, other members take ready tasks.
    claim: Option<ClaimPolicy>,
    pub(super) set_keys: SetKeys,
}

impl Defaults {
    pub(super) fn read(
        source: &Source<'_>,
        table: Option<Table<'_>>,
        roles: &Roles,
        reader: Reader<'_>,
        mode: Option<Mode>,
    ) -> Self {
        let Reader {
            project, overrides, ..
        } = reader;
        let mut defaults = Self {
            role: None,
            engine: match mode {
                Some(Mode::Lead | Mode::Coordinator | Mode::Collaborate) => Engine::Native,
                Some(Mode::Manual) | None => Engine::Command,
            },
            agent_keys: AgentKeys::default(),
            cwd: project.to_owned(),
            env: BTreeMap::new(),
            env_at: BTreeMap::new(),
            claim: None,
            set_keys: SetKeys::default(),
        };
        let Some(mut table) = table else {
            defaults.apply_overrides(overrides, roles);
            return defaults;
        };
        defaults.role = table
            .string("role")
            .and_then(|name| roles.find(source, name));
        let engine = engine::read(source, &mut table, &mut defaults.agent_keys);
        if let Some(found) = table.string_or_strings("model") {
            defaults
                .agent_keys
                .read_models(source, &found, table.at, project);
        }
        defaults.agent_keys.read_fallback_minutes(&mut table);
        if let Some(found) = table.word("effort", &Effort::NAMES) {
            defaults.agent_keys.note_key("effort", found.at);
            defaults.agent_keys.effort = Some(found.value);
        }
        if let Some(found) = table.string("compact") {
            let agent_keys = &mut defaults.agent_keys;
            agent_keys.read_compact(source, found, project);
        }
        defaults
            .agent_keys
            .read_delegate(source, &mut table, project);
        if let Some(steps) = agent::max_steps(&mut table) {
            defaults.agent_keys.note_key("max_steps", table.at);
            defaults.agent_keys.max_steps = Some(steps);
        }
        defaults.agent_keys.network = table.boolean("network");
        if defaults.agent_keys.network.is_some() {
            defaults.agent_keys.note_key("network", table.at);
        }
        defaults
            .agent_keys
            .read_instructions(source, &mut table, project);
        match engine {
            Some(engine) => defaults.engine = engine.value,
            None if defaults.agent_keys.first_key.is_some() => defaults.engine = Engine::Native,
            None => {}
        }
        if let Some(cwd) = table.string("cwd") {
            defaults.cwd = directory(source, cwd, project);
        }
        defaults.env = table.string_map("env", check_variable);
        defaults.env_at = table.positions_in("env");
        if let Some(claim) = table.word("claim", CLAIMS) {
            defaults.claim = Some(claim.value);
        }
        defaults.set_keys = SetKeys {
            at: table.at,
            role: defaults.role.is_some(),
            model: defaults.agent_keys.model.is_some(),
            effort: defaults.agent_keys.effort.is_some(),
            max_steps: defaults.agent_keys.max_steps.is_some(),
            limits: false,
            network: defaults.agent_keys.network == Some(true),
        };
        table.finish();
        defaults.apply_overrides(overrides, roles);
        defaults
    }

    /// The role of a member that sets no role.
    pub(super) fn role(&self) -> RoleName {
        let named = self.role.clone();
        named.unwrap_or_else(|| WORKER.parse().expect("built-in names follow the rule"))
    }

    fn apply_overrides(&mut self, overrides: &Overrides, roles: &Roles) {
        let agent_keys = &mut self.agent_keys;
        if let Some(model) = overrides.get(&Key::Team(Item::Model)) {
            agent_keys.model = Some(model.to_owned());
            agent_keys.fallbacks.clear();
        }
        agent_keys.effort = overrides
            .parsed(&Key::Team(Item::Effort))
            .or(agent_keys.effort);
        if let Some(steps) = overrides.parsed(&Key::Team(Item::MaxSteps)) {
            agent_keys.max_steps = Some(steps);
        }
        if let Some(role) = overrides.get(&Key::Team(Item::Role)) {
            self.role = roles.known(role).or(self.role.take());
        }
    }
}

/// The keys that a table of the team file sets itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SetKeys {
    /// Position of the table.
    pub(super) at: usize,
    pub(super) role: bool,
    pub(super) model: bool,
    pub(super) effort: bool,
    pub(super) max_steps: bool,
    pub(super) limits: bool,
    /// Whether the table sets `network = true`.
    pub(super) network: bool,
}

/// A member and the position of its name in the file.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) at: usize,
    /// The specification; it is incomplete before [`Member::finish`].
    pub(super) spec: MemberSpec,
    /// The first key of the member's table that concerns tools.
    pub(super) tools_at: Option<At<&'static str>>,
    /// The position of the member's engine, if the table sets an engine.
    pub(super) engine_at: Option<usize>,
    /// The position of each variable of the member's environment.
    pub(super) env_at: BTreeMap<String, usize>,
    /// `None`: the value of [`Defaults::claim`].
    claim: Option<ClaimPolicy>,
    /// The agent, which is used if the engine is native.
    pub(super) agent: AgentSpec,
    pub(super) set_keys: SetKeys,
}

impl Member {
    /// The default lead of a file without `[lead]`.
    pub(super) fn lead(defaults: &Defaults, roles: &mut Roles, reader: Reader<'_>) -> Self {
        let Reader {
            project, overrides, ..
        } = reader;
        let name: MemberName = LEAD.parse().expect("`lead` is a valid name");
        let role = overrides.get(&Key::Member(name.clone(), Item::Role));
        let role = role.and_then(|role| roles.known(role));
        let role = role.unwrap_or_else(|| LEAD.parse().expect("`lead` is a valid name"));
        let mut agent_keys = AgentKeys::default();
        apply_overrides(overrides, &name, &mut agent_keys);
        let of_role = roles.used(&role);
        Self {
            at: 0,
            spec: MemberSpec {
                name: name.clone(),
                lead: true,
                engine: Engine::Native,
                colour: of_role.colour,
                role,
                cwd: project.to_owned(),
                env: defaults.env.clone(),
                claim: ClaimPolicy::Assigned,
                placement: None,
                agent: AgentSpec::default(),
                budget: overrides.budget(Budget::default(), of_member(&name)),
            },
            tools_at: None,
            engine_at: None,
            env_at: defaults.env_at.clone(),
            claim: None,
            agent: of_role.agent(&agent_keys, &defaults.agent_keys),
            set_keys: SetKeys::default(),
        }
    }

    /// Completes the member when its engine is final. `strategy`: the strategy of the lead.
    pub(super) fn finish(self, defaults: &Defaults, strategy: &Option<Strategy>) -> MemberSpec {
        let Self {
            mut spec,
            claim,
            agent,
            ..
        } = self;
        let is_agent = spec.engine.uses_model();
        let default_claim = ClaimPolicy::default_of(spec.engine, spec.lead);
        spec.claim = claim.or(defaults.claim).unwrap_or(default_claim);
        if spec.engine.shows_program() {
            spec.claim = ClaimPolicy::Assigned;
            spec.agent = AgentSpec {
                description: agent.description,
                external: agent.external,
                ..AgentSpec::default()
            };
        } else if spec.engine.is_external() {
            spec.agent = AgentSpec {
                description: agent.description,
                prompt: agent.prompt,
                may_spawn: agent.may_spawn,
                external: agent.external,
                ..AgentSpec::default()
            };
        } else if is_agent {
            spec.agent = agent;
            spec.agent.external = None;
            if spec.lead {
                spec.agent.strategy.clone_from(strategy);
            }
        }
        spec
    }
}

/// Reads one member. Invalid values are replaced by defaults, so that references to the member still resolve; a file
/// with faults produces no team. `None` if the member has no valid name.
pub(super) fn read(
    source: &Source<'_>,
    mut table: Table<'_>,
    level: Level,
    defaults: &Defaults,
    roles: &mut Roles,
    reader: Reader<'_>,
) -> Option<Member> {
    let Reader {
        project, overrides, ..
    } = reader;
    let lead = level == Level::Lead;
    let at = table.at;
    let table_at = at;
    let name = match table.string("name") {
        Some(found) => name(source, found, lead).map(|value| At {
            value,
            at: found.at,
        }),
        None if lead => Some(At {
            value: LEAD.parse().expect("`lead` is a valid name"),
            at,
        }),
        None => {
            source.fault_with_hint(at, "a member needs a name", "add name = \"ada\"");
            None
        }
    };
    let role_in_table = table.string("role");
    let role = match role_in_table {
        Some(found) => roles.find(source, found),
        None if lead => None,
        None => defaults.role.clone(),
    };
    let role_override = name.as_ref().and_then(|name| {
        let role = overrides.get(&Key::Member(name.value.clone(), Item::Role))?;
        roles.known(role)
    });
    let role = role_override.or(role);
    let role = role.unwrap_or_else(|| {
        let name = if lead { LEAD } else { WORKER };
        name.parse().expect("built-in names follow the rule")
    });
    let may_spawn = if lead {
        let names = table.strings("may_spawn");
        let known = |name| roles.find(source, name);
        names.map(|names| names.into_iter().filter_map(known).collect())
    } else {
        None
    };
    let of_role = roles.used(&role);
    let mut agent_keys = AgentKeys::read(source, &mut table, reader);
    let engine = engine::read(source, &mut table, &mut agent_keys);
    agent_keys.check_servers(source, &defaults.agent_keys.servers);
    let mut budget = Budget::default();
    if let Some(mut limits) = table.table("limits", Level::Budget) {
        agent_keys.note_key("limits", limits.at);
        budget = budget::read(&mut limits);
        limits.finish();
    }
    if engine.is_some_and(|engine| engine.value.runs_lines()) {
        agent_keys.refuse_for_command_engine(source);
    }
    if engine.is_some_and(|engine| engine.value == Engine::External) {
        agent_keys.refuse_for_external_engine(source);
    }
    if engine.is_some_and(|engine| engine.value.shows_program()) {
        agent_keys.refuse_for_terminal_engine(source);
    }
    let colour = table.colour();
    let cwd = table
        .string("cwd")
        .map(|found| directory(source, found, project));
    let mut env = defaults.env.clone();
    env.extend(table.string_map("env", check_variable));
    let mut env_at = defaults.env_at.clone();
    env_at.extend(table.positions_in("env"));
    let claim = table.word("claim", CLAIMS).map(|found| found.value);
    let placement = table.word("placement", &member_placements());
    if let (Some(engine), Some(placement)) = (engine, placement)
        && engine.value.shows_program()
        && placement.value == PlacementChoice::Hosted
    {
        source.fault_with_hint(
            placement.at,
            "a hosted member has no terminal, so `engine` cannot show a program",
            "remove `placement`",
        );
    }
    let placement = placement.map(|found| found.value);
    table.finish();
    let At { value: name, at } = name?;
    let set_keys = SetKeys {
        at: table_at,
        role: role_in_table.is_some(),
        model: agent_keys.model.is_some(),
        effort: agent_keys.effort.is_some(),
        max_steps: agent_keys.max_steps.is_some(),
        limits: !budget.is_empty(),
        network: agent_keys.network == Some(true),
    };
    apply_overrides(overrides, &name, &mut agent_keys);
    let budget = overrides.budget(budget, of_member(&name));
    let cwd = cwd.unwrap_or_else(|| defaults.cwd.clone());
    agent_keys.cwd = Some(cwd.clone());
    let mut agent = of_role.agent(&agent_keys, &defaults.agent_keys);
    agent.may_spawn = may_spawn.or(agent.may_spawn);
    let inherited = of_role.engine().unwrap_or(defaults.engine);
    // Keys that only agents have make the member a native agent. An external agent stays external if it has these keys
    // too.
    let is_native = match inherited.is_external() {
        true => agent_keys.native_key.is_some(),
        false => agent_keys.first_key.is_some(),
    };
    let inherited = match is_native {
        true => Engine::Native,
        false => inherited,
    };
    let spec = MemberSpec {
        name,
        lead,
        engine: engine.map_or(inherited, |found| found.value),
        colour: colour.or(of_role.colour),
        role,
        cwd,
        env,
        claim: ClaimPolicy::Ready,
        placement,
        agent: AgentSpec::default(),
        budget,
    };
    Some(Member {
        at,
        spec,
        tools_at: agent_keys.tools_at,
        engine_at: engine.map(|found| found.at),
        env_at,
        claim,
        agent,
        set_keys,
    })
}

fn apply_overrides(overrides: &Overrides, member: &MemberName, agent_keys: &mut AgentKeys) {
    let key = of_member(member);
    if let Some(model) = overrides.get(&key(Item::Model)) {
        agent_keys.model = Some(model.to_owned());
        agent_keys.fallbacks.clear();
    }
    agent_keys.effort = overrides.parsed(&key(Item::Effort)).or(agent_keys.effort);
    if let Some(steps) = overrides.parsed(&key(Item::MaxSteps)) {
        agent_keys.max_steps = Some(steps);
    }
}

fn of_member(member: &MemberName) -> impl Fn(Item) -> Key {
    move |item| Key::Member(member.clone(), item)
}

fn name(source: &Source<'_>, found: At<&str>, lead: bool) -> Option<MemberName> {
    let name: MemberName = match found.value.parse() {
        Ok(name) => name,
        Err(error) => {
            source.fault(found.at, format!("{error}"));
            return None;
        }
    };
    if name.is_reserved() && !(lead && name.as_str() == LEAD) {
        source.fault_with_hint(
            found.at,
            format!("{:?} is a reserved name", found.value),
            "choose a name other than `user`, `you`, `system`, `agent-team`, `all` and `lead`",
        );
    }
    Some(name)
}

/// Reads the path of a directory, relative to the project. If it is not an existing directory, reports a fault and
/// returns the project's directory.
fn directory(source: &Source<'_>, found: At<&str>, project: &Path) -> PathBuf {
    let path = project.join(found.value);
    match path.canonicalize() {
        Ok(path) if path.is_dir() => path,
        Ok(path) => {
            source.fault(
                found.at,
                format!("`cwd`: {} is not a directory", path.display()),
            );
            project.to_owned()
        }
        Err(error) => {
            source.fault_with_hint(
                found.at,
                format!("`cwd`: cannot use {}: {error}", path.display()),
                "relative paths start at the project directory",
            );
            project.to_owned()
        }
    }
}

/// Checks that a variable can be set for a process and is not reserved for agent-team.
///
/// # Errors
/// The reason, for the user, if it cannot be set.
pub fn check_variable(name: &str, value: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        Err(format!("{name:?} cannot be an environment variable"))
    } else if name == LAUNCH_MARKER {
        Err(format!("`{LAUNCH_MARKER}` is set by agent-team itself"))
    } else {
        Ok(())
    }
}
