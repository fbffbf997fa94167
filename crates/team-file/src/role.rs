//! The roles of a project. If several layers define a role of the same name, the first of these layers wins:
//!
//! `[roles.<name>]` in the team file · `.agent-team/roles/` · `.claude/agents/` · `.nyzhi/agents/` · the user's
//! `config.toml` · the user's `roles/` · built-in roles

mod built_in;
mod definition;
mod file;
pub(super) mod front_matter;
pub(super) mod import;
mod view;

use std::collections::BTreeMap;
use std::path::Path;

use agent_team_protocol::RoleName;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::spec::{AgentSpec, ExternalAgent, McpServer, RoleSpec};

use super::agent::{self, AgentKeys, Reader};
use super::engine;
use super::overrides::Key;
use super::source::{Fault, Source};
use super::table::{At, Table, suggest};
use super::unsupported::Level;

pub(super) use definition::Role;
use definition::role_names;
pub use definition::{Layer, RoleSource};
pub use view::RoleDefinition;

/// The default role of members.
pub(super) const WORKER: &str = "worker";
/// The default role of the lead, and its default name.
pub(super) const LEAD: &str = "lead";

#[derive(Debug)]
pub(super) struct Roles(BTreeMap<RoleName, Role>);

#[derive(Debug)]
pub(super) struct Finished {
    pub(super) specs: Vec<RoleSpec>,
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Fault>,
}

impl Roles {
    /// Reads all layers and applies the user's overrides. `table` is `[roles]` of the team file, `settings` the
    /// directory of the user's settings, and `of_user` the roles of its `config.toml`.
    pub(super) fn read(
        source: &Source<'_>,
        table: Option<Table<'_>>,
        settings: Option<&Path>,
        of_user: Vec<(RoleName, Role)>,
        reader: Reader<'_>,
    ) -> Self {
        let mut roles = Self(BTreeMap::new());
        for (name, table) in table
            .map(|table| table.named_tables(Level::Role))
            .unwrap_or_default()
        {
            let place = format!("{}:{}", source.file(), source.line(name.at));
            let role = from_table(source, table, Role::new(Layer::TeamFile, place), reader);
            match name.value.parse() {
                Ok(name) => roles.add(name, role),
                Err(error) => source.fault(name.at, format!("{error}")),
            }
        }
        for (layer, directory) in [
            (Layer::Project, ".agent-team/roles"),
            (Layer::Claude, ".claude/agents"),
            (Layer::Nyzhi, ".nyzhi/agents"),
        ] {
            roles.add_directory(&reader.project.join(directory), layer, reader);
        }
        for (name, role) in of_user {
            roles.add(name, role);
        }
        if let Some(settings) = settings {
            roles.add_directory(&settings.join("roles"), Layer::User, reader);
        }
        for (name, role) in built_in::all(reader) {
            roles.add(name, role);
        }
        for (name, role) in &mut roles.0 {
            if let Some(model) = reader.overrides.get(&Key::RoleModel(name.clone())) {
                role.agent_keys.model = Some(model.to_owned());
                role.model_from = Some(reader.overrides.place());
            }
        }
        roles.check_may_spawn(source);
        roles
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&RoleName, &Role)> {
        self.0.iter()
    }

    /// The name of a role, if it exists.
    pub(super) fn known(&self, name: &str) -> Option<RoleName> {
        self.0.keys().find(|role| role.as_str() == name).cloned()
    }

    pub(super) fn get(&self, name: &RoleName) -> Option<&Role> {
        self.0.get(name)
    }

    /// Checks that the roles in `may_spawn` exist. Must be called after all roles are read.
    fn check_may_spawn(&mut self, source: &Source<'_>) {
        let names: Vec<_> = self.0.keys().cloned().collect();
        let known: Vec<_> = names.iter().map(RoleName::as_str).collect();
        for role in self.0.values_mut() {
            let Some(At { value: wanted, at }) = &role.may_spawn else {
                continue;
            };
            for unknown in wanted.iter().filter(|wanted| !names.contains(wanted)) {
                let message = format!("`may_spawn`: there is no role {:?}", unknown.as_str());
                let hint = suggest(unknown.as_str(), &known);
                if role.place.from == Layer::TeamFile {
                    source.fault_with_hint(*at, message, hint);
                } else {
                    role.faults.push(Fault {
                        file: role.place.place.clone(),
                        line: 1,
                        column: 1,
                        message,
                        hint: Some(hint),
                    });
                }
            }
        }
    }

    /// Checks the names in `mcp` of the roles in the team file. Roles of the user's `config.toml` are used in
    /// several projects, whose servers can differ.
    pub(super) fn check_servers(&self, source: &Source<'_>, servers: &[McpServer]) {
        for role in self.0.values() {
            if role.place.from == Layer::TeamFile {
                role.agent_keys.check_servers(source, servers);
            }
        }
    }

    /// Adds a role unless a higher layer has a role of the same name. Must be called in order of precedence.
    fn add(&mut self, name: RoleName, role: Role) {
        match self.0.get_mut(&name) {
            Some(nearer) => nearer.hides.push(role.place),
            None => drop(self.0.insert(name, role)),
        }
    }

    fn add_directory(&mut self, directory: &Path, layer: Layer, reader: Reader<'_>) {
        let Ok(entries) = std::fs::read_dir(directory) else {
            return;
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
        paths.sort();
        for path in paths {
            if let Some((name, role)) = file::load(&path, layer, reader) {
                self.add(name, role);
            }
        }
    }

    /// Looks up the role of a member or of a task; reports an unknown role.
    pub(super) fn find(&self, source: &Source<'_>, name: At<&str>) -> Option<RoleName> {
        let found = self.known(name.value);
        if found.is_none() {
            let known: Vec<_> = self.0.keys().map(RoleName::as_str).collect();
            let message = format!("there is no role {:?}", name.value);
            source.fault_with_hint(name.at, message, suggest(name.value, &known));
        }
        found
    }

    /// Roles from the project's files that set `network = true`.
    pub(super) fn networked(&self) -> impl Iterator<Item = &RoleName> {
        let of_project = |role: &Role| matches!(role.place.from, Layer::TeamFile | Layer::Project);
        let networked = self
            .0
            .iter()
            .filter(move |(_, role)| role.agent_keys.network == Some(true) && of_project(role));
        networked.map(|(name, _)| name)
    }

    /// Roles that set an external engine, with the agent. Includes roles of the user, because the agent reads the
    /// project's settings.
    pub(super) fn external(&self) -> impl Iterator<Item = (&RoleName, &ExternalAgent)> {
        let roles = self.0.iter();
        roles.filter_map(|(name, role)| Some((name, role.agent_keys.external.as_ref()?)))
    }

    /// For each role, the settings of an agent that is spawned in the role.
    pub(super) fn agents(&self, defaults: &AgentKeys) -> impl Iterator<Item = AgentSpec> {
        let roles = self.0.values();
        roles.map(|role| role.agent(&AgentKeys::default(), defaults))
    }

    /// Marks a role as used by a member and returns it.
    pub(super) fn used(&mut self, name: &RoleName) -> &Role {
        let role = self.0.entry(name.clone());
        let role = role.or_insert_with(|| Role::new(Layer::BuiltIn, ""));
        role.used = true;
        role
    }

    /// The roles that the team uses or may spawn, and the faults and warnings of the roles that it uses. `engine` and
    /// `defaults` apply to roles without these settings.
    pub(super) fn finish(self, engine: Engine, defaults: &AgentKeys) -> Finished {
        let mut finished = Finished {
            specs: Vec::new(),
            faults: Vec::new(),
            warnings: Vec::new(),
        };
        for (name, role) in self.0 {
            let spec = RoleSpec {
                engine: role.engine().unwrap_or(engine),
                agent: role.agent(&AgentKeys::default(), defaults),
                name,
                description: role.description,
                colour: role.colour,
            };
            if role.used {
                finished.faults.extend(role.faults);
                finished.warnings.extend(role.warnings);
            } else if !role.faults.is_empty() || spec.name.as_str() == LEAD {
                continue;
            }
            finished.specs.push(spec);
        }
        finished
    }

    pub(super) fn views(self) -> Vec<RoleDefinition> {
        let views = self.0.into_iter();
        views
            .map(|(name, role)| RoleDefinition::new(name, role))
            .collect()
    }
}

/// Reads the text of a role file of another program. The warnings of the role report the parts that are changed or
/// ignored. `None` if neither the front matter nor `stem` contains a name from which a role name can be made.
///
/// # Errors
/// If the front matter cannot be read.
pub(super) fn of_other_program(
    shown: &str,
    stem: &str,
    text: &str,
    reader: Reader<'_>,
) -> Result<Option<(RoleName, Role)>, Vec<Fault>> {
    match file::parse(shown, stem, text, Layer::Claude, reader) {
        Some((_, role)) if !role.faults.is_empty() => Err(role.faults),
        read => Ok(read),
    }
}

/// Reads `[roles.<name>]` of the user's `config.toml`. `at` is the position of the name. The role contains the faults
/// of its table.
pub(super) fn of_user(
    source: &Source<'_>,
    at: usize,
    table: Table<'_>,
    reader: Reader<'_>,
) -> Role {
    let place = format!("{}:{}", source.file(), source.line(at));
    let mut role = from_table(source, table, Role::new(Layer::User, place), reader);
    role.faults = source.take_faults();
    role
}

/// Reads role names, which need not exist yet: see [`Roles::check_may_spawn`].
pub(super) fn may_spawn(source: &Source<'_>, table: &mut Table<'_>) -> Option<At<Vec<RoleName>>> {
    let names = table.strings("may_spawn")?;
    let at = names.first().map_or(table.at, |name| name.at);
    let value = role_names(source, &names);
    Some(At { value, at })
}

#[cfg(test)]
pub(super) fn faults_of_file(text: &str, reader: Reader<'_>) -> Vec<Fault> {
    let read = file::parse("role.md", "role", text, Layer::Project, reader);
    read.map(|(_, role)| role.faults).unwrap_or_default()
}

fn from_table(source: &Source<'_>, mut table: Table<'_>, role: Role, reader: Reader<'_>) -> Role {
    let description = table
        .string("description")
        .map(|found| agent::prompt(source, found, reader.variables))
        .unwrap_or_default();
    let mut of_engine = AgentKeys::default();
    let engine = engine::read(source, &mut table, &mut of_engine);
    let colour = table.colour();
    let agent_keys = AgentKeys {
        external: of_engine.external,
        ..AgentKeys::read(source, &mut table, reader)
    };
    let role = Role {
        description,
        engine: engine.map(|found| found.value),
        colour,
        agent_keys,
        may_spawn: may_spawn(source, &mut table),
        coordinate: table.boolean("coordinate").unwrap_or(false),
        ..role
    };
    if role.engine.is_some_and(Engine::runs_lines) {
        role.agent_keys.refuse_for_command_engine(source);
    }
    if role.engine.is_some_and(Engine::shows_program) {
        role.agent_keys.refuse_for_terminal_engine(source);
    }
    table.finish();
    role
}
