//! `[lead]` and `[[member]]`: one member each, with what `[defaults]` and her role fill in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_protocol::spec::{AgentSpec, Budget, ClaimPolicy, Engine, MemberSpec, Strategy};
use agent_team_protocol::{MemberName, RoleName};

use super::agent::{self, Reader, Thinking};
use super::budget;
use super::own::{Item, Key, Own};
use super::role::{LEAD, Roles, WORKER};
use super::source::Source;
use super::strategy::Mode;
use super::table::{At, Level, Table};
use super::{CLAIMS, ENGINES, MEMBER_PLACEMENTS, colours};

/// What `[defaults]` says, with this build's own for what it does not say.
#[derive(Debug)]
pub(super) struct Defaults {
    role: Option<RoleName>,
    pub(super) engine: Engine,
    pub(super) thinking: Thinking,
    cwd: PathBuf,
    pub(super) env: BTreeMap<String, String>,
    /// Where each of these variables is set.
    env_at: BTreeMap<String, usize>,
    /// `None`: the lead thinks of what she does, the others take what is ready.
    claim: Option<ClaimPolicy>,
    pub(super) says: Says,
}

impl Defaults {
    pub(super) fn read(
        source: &Source<'_>,
        table: Option<Table<'_>>,
        roles: &Roles,
        reader: Reader<'_>,
        mode: Option<Mode>,
    ) -> Self {
        let Reader { project, own, .. } = reader;
        let mut defaults = Self {
            role: None,
            engine: match mode {
                Some(Mode::Lead | Mode::Coordinator | Mode::Collaborate) => Engine::Native,
                Some(Mode::Manual) | None => Engine::Command,
            },
            thinking: Thinking::default(),
            cwd: project.to_owned(),
            env: BTreeMap::new(),
            env_at: BTreeMap::new(),
            claim: None,
            says: Says::default(),
        };
        let Some(mut table) = table else {
            defaults.put_before(own, roles);
            return defaults;
        };
        defaults.role = table
            .string("role")
            .and_then(|name| roles.find(source, name));
        let engine = table.word("engine", ENGINES);
        if let Some(found) = table.string("model") {
            defaults.thinking.say("model", found.at);
            defaults.thinking.model = agent::model(source, found, project);
        }
        if let Some(steps) = agent::max_steps(&mut table) {
            defaults.thinking.say("max_steps", table.at);
            defaults.thinking.max_steps = Some(steps);
        }
        defaults.thinking.network = table.boolean("network");
        if defaults.thinking.network.is_some() {
            defaults.thinking.say("network", table.at);
        }
        match engine {
            Some(engine) => defaults.engine = engine.value,
            None if defaults.thinking.said.is_some() => defaults.engine = Engine::Native,
            None => {}
        }
        if let Some(cwd) = table.string("cwd") {
            defaults.cwd = directory(source, cwd, project);
        }
        defaults.env = table.string_map("env", check_variable);
        defaults.env_at = table.places_in("env");
        if let Some(claim) = table.word("claim", CLAIMS) {
            defaults.claim = Some(claim.value);
        }
        defaults.says = Says {
            at: table.at,
            role: defaults.role.is_some(),
            model: defaults.thinking.model.is_some(),
            max_steps: defaults.thinking.max_steps.is_some(),
            limits: false,
            network: defaults.thinking.network == Some(true),
        };
        table.finish();
        defaults.put_before(own, roles);
        defaults
    }

    /// The role of a member that names none.
    pub(super) fn role(&self) -> RoleName {
        let named = self.role.clone();
        named.unwrap_or_else(|| WORKER.parse().expect("built-in names follow the rule"))
    }

    /// What the user says of the whole team.
    fn put_before(&mut self, own: &Own, roles: &Roles) {
        let thinking = &mut self.thinking;
        if let Some(model) = own.get(&Key::Team(Item::Model)) {
            thinking.model = Some(model.to_owned());
        }
        if let Some(steps) = own.number(&Key::Team(Item::MaxSteps)) {
            thinking.max_steps = Some(steps);
        }
        if let Some(role) = own.get(&Key::Team(Item::Role)) {
            self.role = roles.known(role).or(self.role.take());
        }
    }
}

/// Which of the settings a table of the team file says itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Says {
    /// Where the table begins.
    pub(super) at: usize,
    pub(super) role: bool,
    pub(super) model: bool,
    pub(super) max_steps: bool,
    pub(super) limits: bool,
    /// That commands have the network.
    pub(super) network: bool,
}

/// A member and where the file names her.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) at: usize,
    /// Without an agent yet: see [`Member::finish`].
    pub(super) spec: MemberSpec,
    /// The first key of her table that is about tools.
    pub(super) tools_at: Option<At<&'static str>>,
    /// Where her engine is written, if it is.
    pub(super) engine_at: Option<usize>,
    /// Where each variable of its environment is set.
    pub(super) env_at: BTreeMap<String, usize>,
    /// `None`: as [`Defaults::claim`] says.
    claim: Option<ClaimPolicy>,
    /// How she thinks, if she does.
    pub(super) agent: AgentSpec,
    pub(super) says: Says,
}

impl Member {
    /// The lead of a file that names none.
    pub(super) fn lead(defaults: &Defaults, roles: &mut Roles, reader: Reader<'_>) -> Self {
        let Reader { project, own, .. } = reader;
        let name: MemberName = LEAD.parse().expect("it follows the rule");
        let role = own.get(&Key::Member(name.clone(), Item::Role));
        let role = role.and_then(|role| roles.known(role));
        let role = role.unwrap_or_else(|| LEAD.parse().expect("it follows the rule"));
        let mut thinking = Thinking::default();
        put_before(own, &name, &mut thinking);
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
                budget: own.budget(Budget::default(), of_member(&name)),
            },
            tools_at: None,
            engine_at: None,
            env_at: defaults.env_at.clone(),
            claim: None,
            agent: of_role.agent(&thinking, &defaults.thinking),
            says: Says::default(),
        }
    }

    /// The member as wanted, once her engine is certain. `strategy`: the lead's.
    pub(super) fn finish(self, defaults: &Defaults, strategy: &Option<Strategy>) -> MemberSpec {
        let Self {
            mut spec,
            claim,
            agent,
            ..
        } = self;
        let thinks = spec.engine == Engine::Native;
        let usual = if spec.lead && thinks {
            ClaimPolicy::Assigned
        } else {
            ClaimPolicy::Ready
        };
        spec.claim = claim.or(defaults.claim).unwrap_or(usual);
        if thinks {
            spec.agent = agent;
            if spec.lead {
                spec.agent.strategy.clone_from(strategy);
            }
        }
        spec
    }
}

/// Reads one member. Where something is wrong a default stands in, so that what refers to her still resolves; a file
/// with faults gives no team. `None` when she has no usable name.
pub(super) fn read(
    source: &Source<'_>,
    mut table: Table<'_>,
    level: Level,
    defaults: &Defaults,
    roles: &mut Roles,
    reader: Reader<'_>,
) -> Option<Member> {
    let Reader { project, own, .. } = reader;
    let lead = level == Level::Lead;
    let at = table.at;
    let table_at = at;
    let name = match table.string("name") {
        Some(found) => name(source, found, lead).map(|value| At {
            value,
            at: found.at,
        }),
        None if lead => Some(At {
            value: LEAD.parse().expect("it follows the rule"),
            at,
        }),
        None => {
            source.fault_with_hint(at, "a member needs a name", "add name = \"ada\"");
            None
        }
    };
    let role_said = table.string("role");
    let role = match role_said {
        Some(found) => roles.find(source, found),
        None if lead => None,
        None => defaults.role.clone(),
    };
    let role_of_own = name.as_ref().and_then(|name| {
        let role = own.get(&Key::Member(name.value.clone(), Item::Role))?;
        roles.known(role)
    });
    let role = role_of_own.or(role);
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
    let engine = table.word("engine", ENGINES);
    let mut thinking = Thinking::read(source, &mut table, reader);
    let mut budget = Budget::default();
    if let Some(mut limits) = table.table("limits", Level::Budget) {
        thinking.say("limits", limits.at);
        budget = budget::read(&mut limits);
        limits.finish();
    }
    if engine.is_some_and(|engine| engine.value == Engine::Command) {
        thinking.refuse_for_commands(source);
    }
    let colour = table.word("colour", &colours()).map(|found| found.value);
    let cwd = table
        .string("cwd")
        .map(|found| directory(source, found, project));
    let mut env = defaults.env.clone();
    env.extend(table.string_map("env", check_variable));
    let mut env_at = defaults.env_at.clone();
    env_at.extend(table.places_in("env"));
    let claim = table.word("claim", CLAIMS).map(|found| found.value);
    let placement = table
        .word("placement", MEMBER_PLACEMENTS)
        .map(|found| found.value);
    table.finish();
    let At { value: name, at } = name?;
    let says = Says {
        at: table_at,
        role: role_said.is_some(),
        model: thinking.model.is_some(),
        max_steps: thinking.max_steps.is_some(),
        limits: !budget.is_empty(),
        network: thinking.network == Some(true),
    };
    put_before(own, &name, &mut thinking);
    let budget = own.budget(budget, of_member(&name));
    let mut agent = of_role.agent(&thinking, &defaults.thinking);
    agent.may_spawn = may_spawn.or(agent.may_spawn);
    let spec = MemberSpec {
        name,
        lead,
        engine: engine
            .map(|found| found.value)
            .or(thinking.said.map(|_| Engine::Native))
            .or(of_role.engine())
            .unwrap_or(defaults.engine),
        colour: colour.or(of_role.colour),
        role,
        cwd: cwd.unwrap_or_else(|| defaults.cwd.clone()),
        env,
        claim: ClaimPolicy::Ready,
        placement,
        agent: AgentSpec::default(),
        budget,
    };
    Some(Member {
        at,
        spec,
        tools_at: thinking.tools_at,
        engine_at: engine.map(|found| found.at),
        env_at,
        claim,
        agent,
        says,
    })
}

/// What the user says of one member.
fn put_before(own: &Own, member: &MemberName, thinking: &mut Thinking) {
    let key = of_member(member);
    if let Some(model) = own.get(&key(Item::Model)) {
        thinking.model = Some(model.to_owned());
    }
    if let Some(steps) = own.number(&key(Item::MaxSteps)) {
        thinking.max_steps = Some(steps);
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
            "choose a name other than `user`, `system`, `all` and `lead`",
        );
    }
    Some(name)
}

/// A directory as written, relative to the project. The project stands in for one that is not there.
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

/// Whether a variable can be handed to a process, and is not ours.
pub fn check_variable(name: &str, value: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        Err(format!("{name:?} cannot be an environment variable"))
    } else if name == LAUNCH_MARKER {
        Err(format!("`{LAUNCH_MARKER}` is set by agent-team itself"))
    } else {
        Ok(())
    }
}
