//! Waits for the result of a run.

use agent_team_protocol::RunId;
use agent_team_protocol::method::{ListRounds, Nothing, RunRounds, RunWait, TeamShow, WaitRun};
use agent_team_protocol::result::RunResult;

use crate::team_thread::{CallFailed, SupervisorClient};

pub(crate) async fn wait_for(
    supervisor: &SupervisorClient,
    run: RunId,
) -> Result<RunResult, CallFailed> {
    let view = supervisor.ask::<RunWait>(WaitRun { run }).await?;
    let mut rounds = Vec::new();
    let mut request = Some(ListRounds::of(run));
    while let Some(list) = request {
        let page = supervisor.ask::<RunRounds>(list).await?;
        request = list.next(&page);
        rounds.extend(page.rounds);
    }
    let team = supervisor.ask::<TeamShow>(Nothing {}).await?;
    let tasks = supervisor.tasks().await?;
    let ended_at = view.ended_at.unwrap_or(view.started_at);
    let total_ms = ended_at.saturating_sub(view.started_at);
    Ok(RunResult::of_run(view, rounds, team, tasks, total_ms))
}
