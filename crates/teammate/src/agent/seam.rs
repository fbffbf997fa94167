//! What a native member is made of: its model, its tools and what they are told. Called when an agent is built.
//!
//! This is the one place that knows where these come from.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::spec::AgentSpec;
use agent_team_protocol::view::{TaskView, TeamView};

use crate::desk::Desk;
use crate::model::Model;
use crate::team_tool::Shared;
use crate::tool::Tool;
use crate::worker::LastWords;

/// The model that this member thinks with.
///
/// # Errors
/// When there is none, or it cannot be asked at all: no restart helps.
pub(crate) fn model_of(
    agent: &AgentSpec,
    _environment: &BTreeMap<String, String>,
) -> Result<Arc<dyn Model>, LastWords> {
    let name = agent.model.as_deref().unwrap_or("no model");
    Err(LastWords {
        code: ExitCode::NotFound as u8,
        reason: format!("{name} cannot be used: this build has no models"),
        hold: true,
    })
}

/// What this member can call.
pub(crate) fn tools_of(_agent: &AgentSpec, _desk: &Desk, _shared: &Shared) -> Vec<Box<dyn Tool>> {
    Vec::new()
}

/// What its model is told before anything else.
pub(crate) fn system_of(desk: &Desk, agent: &AgentSpec, team: &TeamView) -> String {
    format!(
        "You are {}, a member of the team {}.\n{}",
        desk.member, team.name, agent.prompt
    )
}

/// What its model is told of the team when its conversation was cut.
pub(crate) fn digest_of(_desk: &Desk, team: &TeamView, tasks: &[TaskView]) -> String {
    let members = team.members.iter().map(|member| member.name.to_string());
    let tasks = tasks
        .iter()
        .map(|task| format!("{} {}", task.id, task.title));
    format!(
        "The team now: {}\nThe board now: {}",
        members.collect::<Vec<_>>().join(", "),
        tasks.collect::<Vec<_>>().join("; ")
    )
}
