//! A role as shown by `role list` and `role show`. The JSON form is public.

use agent_team_protocol::RoleName;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::spec::{Colour, DelegateSpec};
use agent_team_protocol::value::Effort;
use serde::Serialize;

use super::definition::{Layer, Role, RoleSource};
use crate::agent::AgentKeys;
use crate::source::Fault;

#[derive(Debug, Serialize)]
pub struct RoleDefinition {
    pub name: RoleName,
    pub description: String,
    pub from: Layer,
    /// The path of the file. If the role is in a TOML table, also contains the line.
    pub place: String,
    /// Roles of the same name in lower layers.
    pub hides: Vec<RoleSource>,
    /// `None`: the team's default.
    pub engine: Option<Engine>,
    /// `None`: the team's default.
    pub model: Option<String>,
    /// The file that sets the model, if it is not the role's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_from: Option<String>,
    /// `None`: the team's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
    /// `None`: the team's default, else the agent's own model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compact: Option<String>,
    /// `None`: the team's default, else no delegation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegate: Option<DelegateSpec>,
    pub max_steps: Option<u32>,
    /// `None`: all tools.
    pub tools: Option<Vec<String>>,
    pub deny_tools: Vec<String>,
    /// Whether sandboxed commands have network access.
    pub network: bool,
    pub colour: Option<Colour>,
    pub prompt: String,
    /// Faults that prevent the use of the role.
    pub faults: Vec<String>,
    /// Changed and ignored parts of an imported role file.
    pub warnings: Vec<String>,
}

impl RoleDefinition {
    pub(super) fn new(name: RoleName, role: Role) -> Self {
        let agent = role.agent(&AgentKeys::default(), &AgentKeys::default());
        let texts = |faults: &[Fault]| faults.iter().map(ToString::to_string).collect();
        Self {
            name,
            engine: role.engine(),
            faults: texts(&role.faults),
            warnings: texts(&role.warnings),
            description: role.description,
            from: role.place.from,
            place: role.place.place,
            hides: role.hides,
            model: agent.model,
            model_from: role.model_from,
            effort: agent.effort,
            compact: agent.compact,
            delegate: agent.delegate,
            max_steps: agent.max_steps,
            tools: agent.tools,
            deny_tools: agent.deny_tools,
            network: agent.network,
            colour: role.colour,
            prompt: agent.prompt,
        }
    }
}
