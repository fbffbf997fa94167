//! `team …`: lists, shows and deletes the teams on this machine.

use std::process::ExitCode;

use agent_team_client::{Session, SessionError};
use agent_team_protocol::method::{
    Nothing, TeamDelete, TeamList, TeamListAnswer, TeamShow, UnreadableTeam,
};
use agent_team_protocol::view::{TeamEntry, TeamState, TeamView};
use agent_team_protocol::{ErrorCode, Refusal};

use super::ps;
use crate::args::{Global, TeamCommand};
use crate::caller;
use crate::error::Failure;
use crate::output::table::{Cell, Column, Table, elastic, fixed};
use crate::output::{Output, columns, member, receipt, task, text};

pub(super) async fn run(
    global: &Global,
    output: Output,
    command: TeamCommand,
) -> Result<ExitCode, Failure> {
    let session_of = |name: Option<String>| {
        let team = name.or_else(|| global.team.clone());
        Global { team, ..*global }.session()
    };
    match command {
        TeamCommand::List => {
            let answer = all(&mut global.session()?).await?;
            output.show(&answer, || table(&answer.teams))?;
            for unreadable in &answer.unreadable {
                output.note(&unreadable_note(unreadable));
            }
            Ok(ExitCode::SUCCESS)
        }
        TeamCommand::Show { name } => {
            let team = session_of(name)?.query::<TeamShow>(Nothing {}).await?;
            output.show(&team, || details(&team))?;
            Ok(ExitCode::SUCCESS)
        }
        TeamCommand::Delete { name, yes } => {
            let mut session = session_of(name)?;
            if !yes && !is_confirmed(&mut session, output).await? {
                output.note("deleted nothing");
                return Ok(ExitCode::FAILURE);
            }
            let answer = session.call::<TeamDelete>(Nothing {}).await?;
            receipt::show(output, &answer).map(ExitCode::from)
        }
    }
}

/// Asks the user whether to delete the team.
async fn is_confirmed(session: &mut Session, output: Output) -> Result<bool, Failure> {
    let team = session.query::<TeamShow>(Nothing {}).await?;
    if team.state == TeamState::Up {
        // The supervisor refuses: nothing to confirm.
        return Ok(true);
    }
    let tasks = task::counts(team.tasks);
    let what = format!(
        "delete {} with its board ({tasks}), its history, and your limits, always-rules and trust for it",
        team.team
    );
    if output.is_json() || !caller::is_terminal() {
        return Err(Failure::usage(format!("cannot {what}: not confirmed"))
            .hint("add --yes to delete it without a question"));
    }
    output.ask(&format!("{what}? [y/N] "))
}

/// All teams. When no team is on disk, the session starts no supervisor and the list is empty.
async fn all(session: &mut Session) -> Result<TeamListAnswer, Failure> {
    match session.query::<TeamList>(Nothing {}).await {
        Ok(answer) => Ok(answer),
        Err(SessionError::NoTeams) => Ok(TeamListAnswer::default()),
        Err(error) if error.has_code(ErrorCode::UnknownTeam) => Ok(TeamListAnswer::default()),
        Err(error) => Err(error.into()),
    }
}

/// `cannot read the team pay-0f3a: team.db is not a database of agent-team`, with the hint on its own line.
fn unreadable_note(unreadable: &UnreadableTeam) -> String {
    let Refusal { message, hint, .. } = &unreadable.error;
    let message = text::line(message);
    let what = match &unreadable.team {
        Some(team) => format!("cannot read the team {team}: {message}"),
        None => message,
    };
    match hint {
        Some(hint) => format!("{what}\n  hint: {}", text::line(hint)),
        None => what,
    }
}

fn table(teams: &[TeamEntry]) -> String {
    const COLUMNS: &[Column] = &[
        fixed("NAME"),
        fixed("STATE"),
        elastic("PROJECT"),
        fixed("ID"),
    ];
    if teams.is_empty() {
        return "no teams\n".into();
    }
    let mut table = Table::new(COLUMNS);
    for team in teams {
        table.row([
            Cell::new(team.name.as_str()),
            Cell::new(match team.storage_error {
                Some(_) => "storage failed",
                None => state(team.state),
            }),
            Cell::new(team.project.to_string_lossy()),
            Cell::new(team.team.as_str()),
        ]);
    }
    table.render(columns())
}

fn state(state: TeamState) -> &'static str {
    match state {
        TeamState::Up => "up",
        TeamState::Down => "down",
    }
}

fn details(team: &TeamView) -> String {
    let placement = text::line(&team.placement);
    let state = state(team.state);
    format!(
        "{}{}{} is {state} at revision {}; {placement}\n{}{}",
        ps::head(team),
        ps::storage_error(team),
        team.team,
        team.revision.0,
        ps::mode(team),
        member::table(&team.members),
    )
}
