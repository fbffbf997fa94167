//! Teams as `mcp` creates, lists and deletes them: calls of a client, which act for the user. The server asks the user
//! before it creates or deletes a team.

use std::path::Path;

use agent_team_client::{Session, SessionError};
use agent_team_file::Reading;
use agent_team_protocol::method::{
    Down, Nothing, TeamDelete, TeamDown, TeamList, TeamListAnswer, TeamUp, Up, UpAnswer,
};
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::view::{TeamEntry, TeamState};
use agent_team_protocol::{ErrorCode, TeamId, TeamName};
use agent_team_system::directories::Directories;

use super::super::up;
use crate::args::Start;
use crate::caller;
use crate::error::Failure;
use crate::output::Output;

pub(in crate::verb) async fn list() -> Result<Vec<TeamEntry>, Failure> {
    let mut session = Session::of_team(TeamRef::Directory(caller::current_directory()?));
    match session.query::<TeamList>(Nothing {}).await {
        Ok(TeamListAnswer { teams, .. }) => Ok(teams),
        Err(SessionError::NoTeams) => Ok(Vec::new()),
        Err(error) if error.has_code(ErrorCode::UnknownTeam) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// The team that `create` starts in this directory, after the checks of `up`. Changes nothing.
pub(super) async fn planned(here: &Path, name: Option<&TeamName>) -> Result<Up, Failure> {
    if let Some(file) = agent_team_file::find(here) {
        let text = format!(
            "cannot create a team: this project has the team file {}",
            file.display()
        );
        return Err(Failure::usage(text)
            .hint("let the user start it with: agent-team up; then call join_team"));
    }
    let directories = Directories::from_environment()?;
    let loaded = agent_team_file::of_chat_session(
        name,
        Reading {
            here,
            settings: Some(&directories.config),
            variables: None,
            overrides: None,
        },
    )?;
    let team = TeamId::new(&loaded.spec.name, &loaded.spec.project);
    let is_up = |known: &TeamEntry| known.team == team && known.state == TeamState::Up;
    if list().await?.iter().any(is_up) {
        return Err(Failure::of(
            ErrorCode::TeamRunning,
            format!("cannot create the team {team}: it is already up"),
        )
        .hint("call join_team"));
    }
    // JSON output: no question is asked on a terminal, and no warning is printed.
    let spec = up::trusted_spec(Output::new(true), loaded, &Start::default())?;
    up::of_spec(spec).await
}

/// Starts a planned team.
pub(super) async fn create(planned: Up) -> Result<UpAnswer, Failure> {
    let team = TeamId::new(&planned.spec.name, &planned.spec.project);
    let mut session = Session::to_create(TeamRef::Id(team));
    Ok(session.call::<TeamUp>(planned).await?)
}

/// Stops a team and deletes it.
pub(super) async fn delete(team: &TeamEntry) -> Result<(), Failure> {
    let mut session = Session::of_team(TeamRef::Id(team.team.clone()));
    if team.state == TeamState::Up {
        session.call::<TeamDown>(Down { force: false }).await?;
    }
    session.call::<TeamDelete>(Nothing {}).await?;
    Ok(())
}

/// The team with this name or id; without a name, the team whose project contains this directory.
pub(super) async fn find(here: &Path, name: Option<&str>) -> Result<TeamEntry, Failure> {
    let teams = list().await?;
    let is_meant = |team: &&TeamEntry| match name {
        Some(name) => [team.name.as_str(), team.team.as_str()].contains(&name),
        None => here.starts_with(&team.project),
    };
    let meant: Vec<_> = teams.iter().filter(is_meant).collect();
    match (meant.as_slice(), name) {
        ([team], _) => Ok((*team).clone()),
        ([], Some(name)) => Err(Failure::of(
            ErrorCode::UnknownTeam,
            format!("unknown team {name:?}"),
        )
        .hint("call list_teams")),
        ([], None) => Err(
            Failure::of(ErrorCode::UnknownTeam, "no team belongs to this directory")
                .hint("call list_teams, or create_team"),
        ),
        (several, _) => {
            let ids: Vec<_> = several.iter().map(|team| team.team.as_str()).collect();
            let ids = ids.join(", ");
            Err(Failure::of(ErrorCode::AmbiguousTeam, "several teams match")
                .hint(format!("name one of these ids: {ids}")))
        }
    }
}
