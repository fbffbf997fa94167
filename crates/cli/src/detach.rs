//! Prints, after a detach, that the team keeps running. Used by `attach` and by the single-terminal view.

use std::time::Duration;

use agent_team_client::Session;
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_protocol::view::TeamState;

use crate::output::Output;

/// Timeout of the query for the state of the team.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Prints that the team keeps running, if it does. Starts no supervisor.
pub(crate) async fn print_if_running(session: Session, output: Output) {
    let mut session = session.ending_with_supervisor().only_running();
    let team = session.query::<TeamShow>(Nothing {});
    let answer = tokio::time::timeout(TIMEOUT, team).await;
    if let Ok(Ok(team)) = answer
        && team.state == TeamState::Up
    {
        output.note(&format!(
            "{} keeps running; return: agent-team attach, stop: {}",
            team.name,
            CommandLine::Down
        ));
    }
}
