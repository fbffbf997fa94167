//! `spawn`: adds a member with a role.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use agent_team_client::Session;
use agent_team_file::EngineError;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::exit::ExitCode as ExitCodeKind;
use agent_team_protocol::external;
use agent_team_protocol::method::{
    MemberAnswer, MemberShow, MemberSpawn, Nothing, OneMember, Spawn, TeamShow,
};
use agent_team_protocol::spec::{AgentSpec, reading_tools};
use agent_team_protocol::view::MemberState;

use super::doctor::model;
use super::trust;
use crate::args::{self, Global};
use crate::error::Failure;
use crate::output::Output;

/// How long to poll a member whose model was not found in this environment: the environment of the team may contain the
/// model's key.
const MODEL_TIMEOUT: Duration = Duration::from_secs(3);

/// Interval between two reads of the member's state.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

pub(super) async fn run(
    global: &Global,
    output: Output,
    args: args::Spawn,
) -> Result<ExitCode, Failure> {
    let args::Spawn {
        role,
        name,
        engine,
        prompt,
        model,
        effort,
        plan,
        cwd,
        tools,
        read_only,
        trust: trusted,
    } = args;
    let known = engine.as_deref().map(known_engine).transpose()?;
    let external = engine.filter(|_| known.is_some_and(Engine::is_external));
    let cwd = cwd.map(std::path::absolute).transpose();
    let cwd = cwd.map_err(|error| Failure::io("cannot use the working directory", &error))?;
    let tools = match (read_only, tools) {
        (true, _) => Some(reading_tools()),
        (false, tools) => Some(tools).filter(|tools| !tools.is_empty()),
    };
    let spawn = Spawn {
        model,
        effort,
        prompt,
        must_plan: plan,
        engine: known,
        external,
        cwd,
        tools,
        ..Spawn::of(role, name)
    };
    let mut session = global.session()?;
    if let Some(agent) = spawn.external.as_deref().and_then(external::selected) {
        let team = session.query::<TeamShow>(Nothing {}).await?.team;
        let required_trust = agent_team_file::of_spawned(&agent);
        trust::check_spawn(output, &required_trust, &team, trusted.as_deref())?;
    }
    let spawned = session.call::<MemberSpawn>(spawn);
    let answer = output
        .waiting_for("the new member to be ready", spawned)
        .await?;
    let answer = after_model_check(&mut session, answer).await?;
    if answer.member.state == MemberState::Held {
        let name = &answer.member.name;
        let text = format!("cannot start {name}: {}", answer.member.why);
        return Err(
            Failure::new("held", ExitCodeKind::Failed, text).hint(format!(
                "fix the cause, then run: agent-team restart {name}"
            )),
        );
    }
    super::member::show_started(output, &answer, "spawned")
}

/// Returns the member's state after a check whether its worker can open the model.
///
/// A worker reports ready before it opens its model, so a member without a model is ready for a moment and then held.
/// This function runs the worker's program to find the model in the environment of this command. Only if the program
/// finds no model, this function polls the member until it is held or the timeout has passed.
async fn after_model_check(
    session: &mut Session,
    spawned: MemberAnswer,
) -> Result<MemberAnswer, Failure> {
    let member = &spawned.member;
    if !member.engine.uses_model() || member.state == MemberState::Held {
        return Ok(spawned);
    }
    let agent = AgentSpec {
        model: member.model.clone(),
        ..AgentSpec::default()
    };
    let is_found = model::explain(&agent, &BTreeMap::new()).is_ok();
    let until = tokio::time::Instant::now() + MODEL_TIMEOUT;
    loop {
        let one = OneMember {
            member: spawned.member.name.clone(),
        };
        let answer = session.query::<MemberShow>(one).await?;
        let is_held = answer.member.state == MemberState::Held;
        if is_held || is_found || tokio::time::Instant::now() >= until {
            return Ok(answer);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The engine of this name, for the command line.
pub(super) fn known_engine(name: &str) -> Result<Engine, Failure> {
    agent_team_file::engine(name).map_err(|error| match error {
        EngineError::Unsupported => Failure::unsupported(&format!("engine `{name}`")),
        EngineError::Unknown { hint } => {
            Failure::usage(format!("unknown engine {name:?}")).hint(hint)
        }
    })
}
