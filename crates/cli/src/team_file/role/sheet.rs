//! A role as `role list` and `role show` tell it. The JSON form is public.

use agent_team_protocol::RoleName;
use agent_team_protocol::spec::{Colour, Engine};
use serde::Serialize;

use super::{Layer, Place, Role};
use crate::team_file::agent::Thinking;

#[derive(Debug, Serialize)]
pub(crate) struct RoleSheet {
    pub(crate) name: RoleName,
    pub(crate) description: String,
    pub(crate) from: Layer,
    /// File and line of the team file's roles, the file of others.
    pub(crate) place: String,
    /// Of the same name, farther away.
    pub(crate) hides: Vec<Place>,
    /// `None`: the team's.
    pub(crate) engine: Option<Engine>,
    /// `None`: the team's.
    pub(crate) model: Option<String>,
    pub(crate) max_steps: Option<u32>,
    /// `None`: all.
    pub(crate) tools: Option<Vec<String>>,
    pub(crate) deny_tools: Vec<String>,
    pub(crate) colour: Option<Colour>,
    pub(crate) prompt: String,
    /// Why it cannot be used.
    pub(crate) faults: Vec<String>,
    /// What its file says in vain.
    pub(crate) warnings: Vec<String>,
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
            max_steps: agent.max_steps,
            tools: agent.tools,
            deny_tools: agent.deny_tools,
            colour: role.colour,
            prompt: agent.prompt,
        }
    }
}
