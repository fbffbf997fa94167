//! `[lead]` and `[[member]]`: one member each, with what `[defaults]` and her role fill in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_protocol::spec::{AgentSpec, Budget, ClaimPolicy, Engine, MemberSpec};
use agent_team_protocol::{MemberName, RoleName};

use super::agent::{self, Reader, Thinking};
use super::budget;
use super::role::{LEAD, Roles, WORKER};
use super::source::Source;
use super::table::{At, Level, Table};
use super::{CLAIMS, ENGINES, Mode, PLACEMENTS, colours};

/// What `[defaults]` says, with this build's own for what it does not say.
#[derive(Debug)]
pub(super) struct Defaults {
    role: Option<RoleName>,
    pub(super) engine: Engine,
    pub(super) thinking: Thinking,
    cwd: PathBuf,
    env: BTreeMap<String, String>,
    /// `None`: the lead thinks of what she does, the others take what is ready.
    claim: Option<ClaimPolicy>,
}

impl Defaults {
    pub(super) fn read(
        source: &Source<'_>,
        table: Option<Table<'_>>,
        roles: &Roles,
        project: &Path,
        mode: Option<Mode>,
    ) -> Self {
        let mut defaults = Self {
            role: None,
            engine: match mode {
                Some(Mode::Lead) => Engine::Native,
                Some(Mode::Manual) | None => Engine::Command,
            },
            thinking: Thinking::default(),
            cwd: project.to_owned(),
            env: BTreeMap::new(),
            claim: None,
        };
        let Some(mut table) = table else {
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
        match engine {
            Some(engine) => defaults.engine = engine.value,
            None if defaults.thinking.said.is_some() => defaults.engine = Engine::Native,
            None => {}
        }
        if let Some(cwd) = table.string("cwd") {
            defaults.cwd = directory(source, cwd, project);
        }
        defaults.env = table.string_map("env", check_variable);
        if let Some(claim) = table.word("claim", CLAIMS) {
            defaults.claim = Some(claim.value);
        }
        table.finish();
        defaults
    }
}

/// A member and where the file names her.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) at: usize,
    /// Without an agent yet: see [`Member::finish`].
    pub(super) spec: MemberSpec,
    /// Where her engine is written, if it is.
    pub(super) engine_at: Option<usize>,
    /// `None`: as [`Defaults::claim`] says.
    claim: Option<ClaimPolicy>,
    /// How she thinks, if she does.
    agent: AgentSpec,
}

impl Member {
    /// The lead of a file that names none.
    pub(super) fn lead(defaults: &Defaults, roles: &mut Roles, project: &Path) -> Self {
        let role: RoleName = LEAD.parse().expect("it follows the rule");
        let of_role = roles.used(&role);
        Self {
            at: 0,
            spec: MemberSpec {
                name: LEAD.parse().expect("it follows the rule"),
                lead: true,
                engine: Engine::Native,
                colour: of_role.colour,
                role,
                cwd: project.to_owned(),
                env: defaults.env.clone(),
                claim: ClaimPolicy::Assigned,
                placement: None,
                agent: AgentSpec::default(),
                budget: Budget::default(),
            },
            engine_at: None,
            claim: None,
            agent: of_role.agent(&Thinking::default(), &defaults.thinking),
        }
    }

    /// The member as wanted, once her engine is certain.
    pub(super) fn finish(self, defaults: &Defaults) -> MemberSpec {
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
    let project = reader.project;
    let lead = level == Level::Lead;
    let at = table.at;
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
    let role = match table.string("role") {
        Some(found) => roles.find(source, found),
        None if lead => None,
        None => defaults.role.clone(),
    };
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
    let claim = table.word("claim", CLAIMS).map(|found| found.value);
    let placement = table.word("placement", PLACEMENTS).map(|found| found.value);
    table.finish();
    let At { value: name, at } = name?;
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
        engine_at: engine.map(|found| found.at),
        claim,
        agent,
    })
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
            "`user`, `system`, `all` and `lead` always address something else",
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
                format!("`cwd`: {} cannot be used: {error}", path.display()),
                "a relative one starts at the project directory",
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
