//! A role as `role list` and `role show` tell it. The JSON form is public.

use agent_team_protocol::RoleName;
use agent_team_protocol::spec::{Colour, Engine};
use serde::Serialize;

use super::{Layer, Place, Role};
use crate::agent::Thinking;

#[derive(Debug, Serialize)]
pub struct RoleSheet {
    pub name: RoleName,
    pub description: String,
    pub from: Layer,
    /// File and line of the team file's roles, the file of others.
    pub place: String,
    /// Of the same name, farther away.
    pub hides: Vec<Place>,
    /// `None`: the team's.
    pub engine: Option<Engine>,
    /// `None`: the team's.
    pub model: Option<String>,
    /// The file that the model is from, when it is not the role's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_from: Option<String>,
    pub max_steps: Option<u32>,
    /// `None`: all.
    pub tools: Option<Vec<String>>,
    pub deny_tools: Vec<String>,
    /// What it runs in the sandbox has the network.
    pub network: bool,
    pub colour: Option<Colour>,
    pub prompt: String,
    /// Why it cannot be used.
    pub faults: Vec<String>,
    /// What its file says in vain.
    pub warnings: Vec<String>,
}

impl RoleSheet {
    pub(super) fn new(name: RoleName, role: Role) -> Self {
        let agent = role.agent(&Thinking::default(), &Thinking::default());
        let told = |faults: &[super::Fault]| faults.iter().map(ToString::to_string).collect();
        Self {
            name,
            engine: role.engine(),
            faults: told(&role.faults),
            warnings: told(&role.warnings),
            description: role.description,
            from: role.place.from,
            place: role.place.place,
            hides: role.hides,
            model: agent.model,
            model_from: role.model_from,
            max_steps: agent.max_steps,
            tools: agent.tools,
            deny_tools: agent.deny_tools,
            network: agent.network,
            colour: role.colour,
            prompt: agent.prompt,
        }
    }
}
