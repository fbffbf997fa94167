//! The team of an editor's directory: found if it is up, or else started as by `up` with a goal.
//!
//! The files of a project can be hostile, and some editors answer every question by themselves. This module therefore
//! does not ask for trust: lines that the user has not trusted in a terminal are an error.

use std::path::{Path, PathBuf};

use agent_team_client::{Session, SessionError};
use agent_team_file::{Reading, Variables};
use agent_team_protocol::method::{Nothing, TeamShow, TeamUp, Up};
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::view::{TeamState, TeamView};
use agent_team_protocol::{ErrorCode, TeamId};
use agent_team_system::directories::Directories;

use super::super::mcp::teams;
use super::super::up;
use crate::args::Start;
use crate::error::Failure;
use crate::output::Output;

/// The team of this directory, or the team with the name of `--team`. It is up and has a lead. `None`: the team is not
/// the `expected` team, and was not started.
pub(super) async fn open(
    named: Option<&str>,
    directory: &Path,
    expected: Option<&str>,
) -> Result<Option<TeamView>, Failure> {
    let is_expected = |team: &TeamId| expected.is_none_or(|expected| expected == team.as_str());
    let directory = canonical(directory)?;
    let view = match (running(named, &directory).await?, named) {
        (Some(view), _) if !is_expected(&view.team) => return Ok(None),
        (Some(view), _) => view,
        (None, Some(name)) => {
            let text = format!("cannot open a session: the team {name} is not up");
            return Err(Failure::of(ErrorCode::WrongState, text)
                .hint(format!("start it in a terminal: agent-team -t {name} up")));
        }
        (None, None) => {
            let up = planned(&directory).await?;
            let team = TeamId::new(&up.spec.name, &up.spec.project);
            if !is_expected(&team) {
                return Ok(None);
            }
            start(team, up).await?
        }
    };
    let members = view.members.iter();
    up::check_lead(members.map(|member| (member.lead, member.engine)))?;
    Ok(Some(view))
}

pub(super) fn canonical(directory: &Path) -> Result<PathBuf, Failure> {
    if !directory.is_absolute() {
        let text = format!("cannot use the directory {directory:?}: it is not absolute");
        return Err(Failure::usage(text));
    }
    directory
        .canonicalize()
        .map_err(|error| Failure::io(format!("cannot use the directory {directory:?}"), &error))
}

async fn running(named: Option<&str>, directory: &Path) -> Result<Option<TeamView>, Failure> {
    let team = match (named, agent_team_file::find(directory)) {
        (Some(name), _) => TeamRef::Name(name.to_owned()),
        // The team of a parent directory is not the team of this file.
        (None, Some(file)) => {
            let project = file.ancestors().nth(2);
            let teams = teams::list().await?.into_iter();
            let mut up = teams.filter(|team| {
                team.state == TeamState::Up && Some(team.project.as_path()) == project
            });
            match (up.next(), up.next()) {
                (Some(team), None) => TeamRef::Id(team.team),
                // Several teams of the project are up: the team is the one that the file names.
                (Some(_), Some(_)) => TeamRef::Directory(directory.to_owned()),
                (None, _) => return Ok(None),
            }
        }
        (None, None) => TeamRef::Directory(directory.to_owned()),
    };
    match Session::of_team(team).query::<TeamShow>(Nothing {}).await {
        Ok(view) => Ok(Some(view).filter(|view| view.state == TeamState::Up)),
        Err(SessionError::NoTeams) => Ok(None),
        Err(error) if error.has_code(ErrorCode::UnknownTeam) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The team to start, after the check of trust. Changes nothing.
async fn planned(directory: &Path) -> Result<Up, Failure> {
    let directories = Directories::from_environment()?;
    let variables = Variables::default();
    let reading = Reading {
        here: directory,
        settings: Some(&directories.config),
        variables: Some(&variables),
        overrides: None,
    };
    let loaded = match agent_team_file::find(directory) {
        Some(file) => agent_team_file::load(&file, reading)?,
        None => agent_team_file::of_workers(up::DEFAULT_WORKERS, None, reading)?,
    };
    up::check_lead(up::leads(&loaded.spec))?;
    // JSON output: no question is asked on a terminal, and no warning is printed.
    let spec = up::trusted_spec(Output::new(true), loaded, &Start::default());
    let spec = spec.map_err(in_terminal)?;
    up::of_spec(spec).await
}

async fn start(team: TeamId, up: Up) -> Result<TeamView, Failure> {
    let mut session = Session::to_create(TeamRef::Id(team));
    up::check_models(&mut session, &up).await?;
    session.call::<TeamUp>(up).await?;
    Ok(session.query::<TeamShow>(Nothing {}).await?)
}

/// Replaces the hint about lines without trust, which names a flag of other verbs.
fn in_terminal(failure: Failure) -> Failure {
    match &failure {
        Failure::Reported(report) if report.code == "untrusted" => failure.hint(
            "read these lines; if you trust them, start the team in a terminal in this directory: agent-team up \"GOAL\"",
        ),
        Failure::Reported(_) | Failure::BrokenPipe => failure,
    }
}
