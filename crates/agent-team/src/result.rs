//! Waits for the result of a run.

use agent_team_protocol::RunId;
use agent_team_protocol::method::{ListRounds, Nothing, RunRounds, RunWait, TeamShow, WaitRun};
use agent_team_protocol::result::RunResult;

use crate::home::{CallFailed, Line};

/// Waits for a run to end.
pub(crate) async fn of(line: &Line, run: RunId) -> Result<RunResult, CallFailed> {
    let view = line.ask::<RunWait>(WaitRun { run }).await?;
    let mut rounds = Vec::new();
    let mut wanted = Some(ListRounds::of(run));
    while let Some(list) = wanted {
        let page = line.ask::<RunRounds>(list).await?;
        wanted = list.next(&page);
        rounds.extend(page.rounds);
    }
    let team = line.ask::<TeamShow>(Nothing {}).await?;
    let tasks = line.tasks().await?;
    let ended_at = view.ended_at.unwrap_or(view.started_at);
    let total_ms = ended_at.saturating_sub(view.started_at);
    Ok(RunResult::of_run(view, rounds, team, tasks, total_ms))
}
