//! Waits for the end of a run, and builds its result from several calls. Called by `team` and `stream`.

use agent_team_client::{DeniedCalls, Notice};
use agent_team_policy::call_line;
use agent_team_protocol::method::{
    EventSubscribe, ListRounds, Nothing, RunRounds, RunWait, Subscribe, TeamShow, WaitRun,
};
use agent_team_protocol::result::RunResult;
use agent_team_protocol::{Revision, RunId};

use crate::team_thread::{SupervisorClient, TeamCallError};

pub(crate) async fn wait_for_result(
    supervisor: &SupervisorClient,
    run: RunId,
    after: Revision,
) -> Result<RunResult, TeamCallError> {
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
    let mut result = RunResult::of_run(view, rounds, team, tasks, total_ms);
    match denied(supervisor, after).await {
        Ok(denied) => result.denied = denied,
        // Return the result anyway: the caller loses only the list of denied calls.
        Err(error) => tracing::warn!(%error, "cannot read the denied calls"),
    }
    Ok(result)
}

/// The calls that rules or decisions denied after this revision, in order.
async fn denied(
    supervisor: &SupervisorClient,
    after: Revision,
) -> Result<Vec<String>, TeamCallError> {
    let (supervisor, mut incoming) = supervisor.connect_again().await?;
    let subscribe = Subscribe {
        after,
        transient: false,
    };
    let head = supervisor.ask::<EventSubscribe>(subscribe).await?.head;
    let mut denied = DeniedCalls::default();
    let mut last = after;
    while last < head {
        let arrival = incoming.next().await.ok_or(TeamCallError::Ended)?;
        if let Some(Notice::Event(event)) = Notice::of(&arrival) {
            last = event.revision;
            denied.on_event(event.event);
        }
    }
    Ok(denied.lines(call_line))
}
