//! `ps`: the members and what they are doing.

use std::process::ExitCode;

use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_protocol::view::{MemberView, TeamView};
use agent_team_protocol::{Revision, TeamId};
use serde::Serialize;

use crate::args::Global;
use crate::error::Failure;
use crate::output::{Output, member, task, text};
use crate::session::Session;

#[derive(Serialize)]
struct Document<'a> {
    team: &'a TeamId,
    revision: Revision,
    members: &'a [MemberView],
}

pub(super) async fn run(global: &Global, output: Output) -> Result<ExitCode, Failure> {
    let team = Session::of_team(global)?
        .ask::<TeamShow>(Nothing {})
        .await?;
    let document = Document {
        team: &team.team,
        revision: team.revision,
        members: &team.members,
    };
    output.show(&document, || {
        format!("{}{}", head(&team), member::table(&team.members))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// One line about the team.
pub(super) fn head(team: &TeamView) -> String {
    let tasks = task::counts(team.tasks);
    format!(
        "{} in {}: {tasks}\n",
        team.name,
        text::line(&team.project.to_string_lossy())
    )
}
