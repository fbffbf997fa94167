//! One role: the keys that its file or table sets, and its origin.

use agent_team_protocol::RoleName;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::spec::{AgentSpec, Colour};
use serde::Serialize;

use super::super::agent::{AgentKeys, EDITING};
use super::super::source::{Fault, Source};
use super::super::table::At;

/// The origin of a role, in order of precedence.
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
    /// Whether the role files were written for another program.
    pub(super) fn is_imported(self) -> bool {
        match self {
            Self::Claude | Self::Nyzhi => true,
            Self::TeamFile | Self::Project | Self::User | Self::BuiltIn => false,
        }
    }
}

/// A role's layer and file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleSource {
    pub from: Layer,
    /// The path, for messages.
    pub place: String,
}

#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) place: RoleSource,
    /// Roles of the same name in lower layers.
    pub(super) hides: Vec<RoleSource>,
    pub(crate) description: String,
    /// The engine that the role sets.
    pub(super) engine: Option<Engine>,
    pub(crate) colour: Option<Colour>,
    pub(crate) agent_keys: AgentKeys,
    /// The path of the user's overrides, if they set the model.
    pub(crate) model_from: Option<String>,
    /// The roles that a lead with this role may spawn, with the position. `None`: all roles.
    pub(super) may_spawn: Option<At<Vec<RoleName>>>,
    /// Whether members with this role have no editing tools.
    pub(super) coordinate: bool,
    /// Faults of the role's file. Reported only if a member uses the role.
    pub(super) faults: Vec<Fault>,
    /// Changed and ignored parts of an imported file.
    pub(crate) warnings: Vec<Fault>,
    pub(super) used: bool,
}

impl Role {
    pub(crate) fn new(from: Layer, place: impl Into<String>) -> Self {
        let place = place.into();
        Self {
            place: RoleSource { from, place },
            hides: Vec::new(),
            description: String::new(),
            engine: None,
            colour: None,
            agent_keys: AgentKeys::default(),
            model_from: None,
            may_spawn: None,
            coordinate: false,
            faults: Vec::new(),
            warnings: Vec::new(),
            used: false,
        }
    }

    /// The engine of the role's members. `None`: the team's default. Agent keys imply the engine `native`. Built-in
    /// roles are an exception: they work with either engine unless they set one.
    pub(crate) fn engine(&self) -> Option<Engine> {
        let is_agent = self.place.from != Layer::BuiltIn && self.agent_keys.first_key.is_some();
        self.engine.or(is_agent.then_some(Engine::Native))
    }

    pub(crate) fn agent(&self, member: &AgentKeys, defaults: &AgentKeys) -> AgentSpec {
        let mut keys = self.agent_keys.clone();
        if self.coordinate {
            keys.deny_tools.extend(EDITING.map(str::to_owned));
        }
        let mut agent = keys.agent(member, defaults, &self.description);
        agent.may_spawn = self.may_spawn.as_ref().map(|may| may.value.clone());
        agent
    }
}

/// Reads names of roles that may be spawned; reports invalid names.
pub(super) fn role_names(source: &Source<'_>, names: &[At<&str>]) -> Vec<RoleName> {
    let name = |name: &At<&str>| match name.value.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            source.fault(name.at, format!("`may_spawn`: {error}"));
            None
        }
    };
    names.iter().filter_map(name).collect()
}
