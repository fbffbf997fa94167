//! The roles that a project knows, each from the nearest place that has one of its name:
//!
//! `[roles.<name>]` in the team file · `.agent-team/roles/` · `.claude/agents/` · `.nyzhi/agents/` · the user's
//! `config.toml` · the user's `roles/` · the built-in ones

mod built_in;
mod file;
mod foreign;
mod front_matter;
mod sheet;

use std::collections::BTreeMap;
use std::path::Path;

use agent_team_protocol::RoleName;
use agent_team_protocol::spec::{Colour, Engine, RoleSpec};
use serde::Serialize;
use toml::de::DeTable;

use super::agent::{self, EDITING, Reader, Thinking};
use super::own::Key;
use super::source::{Fault, Source};
use super::table::{At, Level, Table, suggest};
use super::{ENGINES, colours};

pub use sheet::RoleSheet;

/// What members of no other role have.
pub(super) const WORKER: &str = "worker";
/// What the lead has unless the file says otherwise.
pub(super) const LEAD: &str = "lead";

/// Where a role is from, the nearest place first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    TeamFile,
    Project,
    Claude,
    Nyzhi,
    User,
    BuiltIn,
}

impl Layer {
    /// Written for another program.
    fn is_foreign(self) -> bool {
        match self {
            Self::Claude | Self::Nyzhi => true,
            Self::TeamFile | Self::Project | Self::User | Self::BuiltIn => false,
        }
    }
}

/// A role's layer and file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    pub from: Layer,
    /// As a person would type it.
    pub place: String,
}

#[derive(Debug)]
pub(super) struct Role {
    pub(super) place: Place,
    /// Of the same name, farther away.
    hides: Vec<Place>,
    pub(super) description: String,
    /// As written.
    engine: Option<Engine>,
    pub(super) colour: Option<Colour>,
    pub(super) thinking: Thinking,
    /// The user's own layer, when its model is from there.
    pub(super) model_from: Option<String>,
    /// Whom a lead of it may spawn, and where that is written. `None`: everybody.
    may_spawn: Option<At<Vec<RoleName>>>,
    /// Members of it change nothing themselves.
    coordinate: bool,
    /// What is wrong with the role's own file. Told when a member has the role: a role that nobody has harms nobody.
    faults: Vec<Fault>,
    /// What a foreign file says in vain.
    warnings: Vec<Fault>,
    used: bool,
}

impl Role {
    fn new(from: Layer, place: impl Into<String>) -> Self {
        let place = place.into();
        Self {
            place: Place { from, place },
            hides: Vec::new(),
            description: String::new(),
            engine: None,
            colour: None,
            thinking: Thinking::default(),
            model_from: None,
            may_spawn: None,
            coordinate: false,
            faults: Vec::new(),
            warnings: Vec::new(),
            used: false,
        }
    }

    /// The engine of its members. `None`: the team's. A built-in role fits either.
    pub(super) fn engine(&self) -> Option<Engine> {
        let thinks = self.place.from != Layer::BuiltIn && self.thinking.said.is_some();
        self.engine.or(thinks.then_some(Engine::Native))
    }
}

#[derive(Debug)]
pub(super) struct Roles(BTreeMap<RoleName, Role>);

/// What the roles of a team came to.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) specs: Vec<RoleSpec>,
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Fault>,
}

impl Roles {
    /// `table` is the table `[roles]` of the team file, `settings` the user's own directory.
    pub(super) fn read(
        source: &Source<'_>,
        table: Option<Table<'_>>,
        settings: Option<&Path>,
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
        if let Some(settings) = settings {
            roles.add_settings(&settings.join("config.toml"), reader);
            roles.add_directory(&settings.join("roles"), Layer::User, reader);
        }
        for (name, role) in built_in::all(reader) {
            roles.add(name, role);
        }
        for (name, role) in &mut roles.0 {
            if let Some(model) = reader.own.get(&Key::RoleModel(name.clone())) {
                role.thinking.model = Some(model.to_owned());
                role.model_from = Some(reader.own.place());
            }
        }
        roles.check_may_spawn(source);
        roles
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&RoleName, &Role)> {
        self.0.iter()
    }

    /// The name of a role that is there.
    pub(super) fn known(&self, name: &str) -> Option<RoleName> {
        self.0.keys().find(|role| role.as_str() == name).cloned()
    }

    pub(super) fn get(&self, name: &RoleName) -> Option<&Role> {
        self.0.get(name)
    }

    /// Once all roles are known: those that others name must be there.
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

    /// A nearer one of the same name wins.
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

    /// `[roles.<name>]` of the user's settings. What else stands there is the supervisor's to read.
    fn add_settings(&mut self, file: &Path, reader: Reader<'_>) {
        // Without the file there are none; one that cannot be read stops the supervisor, which says so.
        let Ok(text) = super::open::read_text(file) else {
            return;
        };
        let shown = file.display().to_string();
        let source = Source::new(&*shown, &text);
        let Ok(document) = DeTable::parse(&text) else {
            return;
        };
        let mut root = Table::new(&source, document.get_ref(), Level::Root, 0);
        let Some(table) = root.table("roles", Level::Roles) else {
            return;
        };
        for (name, table) in table.named_tables(Level::Role) {
            let place = format!("{shown}:{}", source.line(name.at));
            let mut role = from_table(&source, table, Role::new(Layer::User, place), reader);
            role.faults = source.take_faults();
            if let Ok(name) = name.value.parse() {
                self.add(name, role);
            }
        }
    }

    /// The role of a member or of a task, as written.
    pub(super) fn find(&self, source: &Source<'_>, name: At<&str>) -> Option<RoleName> {
        let found = self.known(name.value);
        if found.is_none() {
            let known: Vec<_> = self.0.keys().map(RoleName::as_str).collect();
            let message = format!("there is no role {:?}", name.value);
            source.fault_with_hint(name.at, message, suggest(name.value, &known));
        }
        found
    }

    /// Those of files that come with the project whose commands have the network.
    pub(super) fn networked(&self) -> impl Iterator<Item = &RoleName> {
        let of_project = |role: &Role| matches!(role.place.from, Layer::TeamFile | Layer::Project);
        let networked = self
            .0
            .iter()
            .filter(move |(_, role)| role.thinking.network == Some(true) && of_project(role));
        networked.map(|(name, _)| name)
    }

    /// The role that a member has.
    pub(super) fn used(&mut self, name: &RoleName) -> &Role {
        let role = self.0.entry(name.clone());
        let role = role.or_insert_with(|| Role::new(Layer::BuiltIn, ""));
        role.used = true;
        role
    }

    /// What the team may spawn, and what is wrong with the roles that it uses. `engine` and `defaults` are for roles
    /// that do not say theirs.
    pub(super) fn finish(self, engine: Engine, defaults: &Thinking) -> Finished {
        let mut finished = Finished {
            specs: Vec::new(),
            faults: Vec::new(),
            warnings: Vec::new(),
        };
        for (name, role) in self.0 {
            let spec = RoleSpec {
                engine: role.engine().unwrap_or(engine),
                agent: role.agent(&Thinking::default(), defaults),
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

    pub(super) fn sheets(self) -> Vec<RoleSheet> {
        let sheets = self.0.into_iter();
        sheets
            .map(|(name, role)| RoleSheet::new(name, role))
            .collect()
    }
}

impl Role {
    /// How a member of this role thinks.
    pub(super) fn agent(
        &self,
        own: &Thinking,
        defaults: &Thinking,
    ) -> agent_team_protocol::spec::AgentSpec {
        let mut of_role = self.thinking.clone();
        if self.coordinate {
            of_role.deny_tools.extend(EDITING.map(str::to_owned));
        }
        let mut agent = of_role.agent(own, defaults, &self.description);
        agent.may_spawn = self.may_spawn.as_ref().map(|may| may.value.clone());
        agent
    }
}

/// The names of roles, which need not be known yet.
pub(super) fn may_spawn(source: &Source<'_>, table: &mut Table<'_>) -> Option<At<Vec<RoleName>>> {
    let names = table.strings("may_spawn")?;
    let at = names.first().map_or(table.at, |name| name.at);
    let value = role_names(source, &names);
    Some(At { value, at })
}

fn role_names(source: &Source<'_>, names: &[At<&str>]) -> Vec<RoleName> {
    let name = |name: &At<&str>| match name.value.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            source.fault(name.at, format!("`may_spawn`: {error}"));
            None
        }
    };
    names.iter().filter_map(name).collect()
}

fn from_table(source: &Source<'_>, mut table: Table<'_>, role: Role, reader: Reader<'_>) -> Role {
    let role = Role {
        description: table
            .string("description")
            .map(|found| agent::prompt(source, found, reader.variables))
            .unwrap_or_default(),
        engine: table.word("engine", ENGINES).map(|found| found.value),
        colour: table.word("colour", &colours()).map(|found| found.value),
        thinking: Thinking::read(source, &mut table, reader),
        may_spawn: may_spawn(source, &mut table),
        coordinate: table.boolean("coordinate").unwrap_or(false),
        ..role
    };
    if role.engine == Some(Engine::Command) {
        role.thinking.refuse_for_commands(source);
    }
    table.finish();
    role
}
