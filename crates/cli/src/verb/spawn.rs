//! `spawn`: adds a member of a role.

use std::process::ExitCode;

use agent_team_file::NoEngine;
use agent_team_protocol::method::{MemberSpawn, Spawn};
use agent_team_protocol::spec::Engine;

use crate::args::{self, Global};
use crate::error::Failure;
use crate::output::Output;
use crate::session::Session;

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
    } = args;
    let engine = engine.map(known_engine).transpose()?;
    let spawn = Spawn {
        model,
        prompt,
        must_plan: plan,
        engine,
        ..Spawn::of(role, name)
    };
    let mut session = Session::of_team(global)?;
    let spawned = session.call::<MemberSpawn>(spawn);
    let answer = output
        .waiting_for("the new member to be ready", spawned)
        .await?;
    super::member::show(output, &answer, "spawned")
}

fn known_engine(name: String) -> Result<Engine, Failure> {
    agent_team_file::engine(&name).map_err(|no| match no {
        NoEngine::NotCarriedOut => Failure::not_carried_out(&format!("engine `{name}`")),
        NoEngine::Unknown { hint } => {
            Failure::usage(format!("there is no engine {name:?}")).hint(hint)
        }
    })
}
