//! What came of a run.

use std::collections::BTreeMap;

use agent_team_protocol::method::{Nothing, RunWait, TeamShow, WaitRun};
use agent_team_protocol::view::{MemberView, RunState, TaskView, Usage};
use agent_team_protocol::{MemberName, RunId, TeamId};
use serde::{Deserialize, Serialize};

use crate::home::{CallFailed, Line};

/// What came of a run: the document that `agent-team run --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunResult {
    pub team: TeamId,
    pub outcome: RunState,
    /// The lead's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_answer: Option<String>,
    /// What each member's last task came to.
    pub outputs: BTreeMap<MemberName, String>,
    pub rounds: u32,
    pub tasks: Vec<TaskView>,
    pub members: Vec<MemberView>,
    /// Read and written by all models of the team so far.
    pub tokens: u64,
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// US dollars. `None`: nobody knows the price of some of it.
    pub cost: Option<f64>,
    pub durations: Durations,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Durations {
    pub total_ms: u64,
}

/// Waits for a run to end.
pub(crate) async fn of(line: &Line, run: RunId) -> Result<RunResult, CallFailed> {
    let view = line.ask::<RunWait>(WaitRun { run }).await?;
    let team = line.ask::<TeamShow>(Nothing {}).await?;
    let tasks = line.tasks().await?;
    let members = team.members;
    let usage: Usage = members.iter().map(|member| member.usage).sum();
    let output = |member: &MemberView| Some((member.name.clone(), member.last_result.clone()?));
    let ended_at = view.ended_at.unwrap_or(view.started_at);
    Ok(RunResult {
        team: team.team,
        outcome: view.state,
        final_answer: view.answer,
        outputs: members.iter().filter_map(output).collect(),
        rounds: 0,
        tasks,
        tokens: usage.tokens(),
        tokens_in: usage.input,
        tokens_out: usage.output,
        cost: usage.usd(),
        members,
        durations: Durations {
            total_ms: ended_at.saturating_sub(view.started_at),
        },
    })
}
