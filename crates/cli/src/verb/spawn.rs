//! `spawn`: adds a member of a role.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use agent_team_file::NoEngine;
use agent_team_protocol::exit::ExitCode as ExitCodeKind;
use agent_team_protocol::method::{MemberAnswer, MemberShow, MemberSpawn, OneMember, Spawn};
use agent_team_protocol::spec::{AgentSpec, Engine, reading_tools};
use agent_team_protocol::view::MemberState;

use super::doctor::model;
use crate::args::{self, Global};
use crate::error::Failure;
use crate::output::Output;
use crate::session::Session;

/// How long a member whose model is not found here may take to find one in the team's own environment.
const SETTLING: Duration = Duration::from_secs(3);

/// Between two looks at the member.
const LOOK: Duration = Duration::from_millis(50);

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
        plan,
        cwd,
        tools,
        read_only,
    } = args;
    let engine = engine.map(known_engine).transpose()?;
    let cwd = cwd.map(std::path::absolute).transpose();
    let cwd = cwd.map_err(|error| Failure::io("the directory cannot be used", &error))?;
    let tools = match (read_only, tools) {
        (true, _) => Some(reading_tools()),
        (false, tools) => Some(tools).filter(|tools| !tools.is_empty()),
    };
    let spawn = Spawn {
        model,
        prompt,
        must_plan: plan,
        engine,
        cwd,
        tools,
        ..Spawn::of(role, name)
    };
    let mut session = Session::of_team(global)?;
    let spawned = session.call::<MemberSpawn>(spawn);
    let answer = output
        .waiting_for("the new member to be ready", spawned)
        .await?;
    let answer = settled(&mut session, answer).await?;
    if answer.member.state == MemberState::Held {
        let name = &answer.member.name;
        let text = format!("cannot start {name}: {}", answer.member.why);
        return Err(
            Failure::new("held", ExitCodeKind::Failed, text).hint(format!(
                "remove the cause, then run: agent-team restart {name}"
            )),
        );
    }
    super::member::show(output, &answer, "spawned")
}

/// The member once it is known whether its model can be asked.
///
/// A worker is ready before it opens its model, so that a member without a model is ready for an instant and then held.
/// The worker's program is asked about the model here: only when it finds none is the member watched for a while.
async fn settled(session: &mut Session, spawned: MemberAnswer) -> Result<MemberAnswer, Failure> {
    let member = &spawned.member;
    if member.engine != Engine::Native || member.state == MemberState::Held {
        return Ok(spawned);
    }
    let asks = AgentSpec {
        model: member.model.clone(),
        ..AgentSpec::default()
    };
    let is_found = model::explain(&asks, &BTreeMap::new()).is_ok();
    let until = tokio::time::Instant::now() + SETTLING;
    loop {
        let one = OneMember {
            member: spawned.member.name.clone(),
        };
        let answer = session.ask::<MemberShow>(one).await?;
        let is_held = answer.member.state == MemberState::Held;
        if is_held || is_found || tokio::time::Instant::now() >= until {
            return Ok(answer);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn known_engine(name: String) -> Result<Engine, Failure> {
    agent_team_file::engine(&name).map_err(|no| match no {
        NoEngine::NotCarriedOut => Failure::not_carried_out(&format!("engine `{name}`")),
        NoEngine::Unknown { hint } => {
            Failure::usage(format!("there is no engine {name:?}")).hint(hint)
        }
    })
}
