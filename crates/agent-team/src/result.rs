//! What came of a run.

use std::collections::BTreeMap;

use agent_team_protocol::method::{ListRounds, Nothing, RunRounds, RunWait, TeamShow, WaitRun};
use agent_team_protocol::view::{MemberView, RoundState, RunState, TaskView, Usage};
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
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub outputs: Outputs,
    /// Rounds of the run, where the team goes by rounds.
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

/// What the members said that they did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outputs {
    /// What each one's last task came to, in a line: where the lead leads with tools.
    Last(BTreeMap<MemberName, String>),
    /// What each one's rounds came to.
    ByRound(BTreeMap<MemberName, Vec<RoundOutput>>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RoundOutput {
    /// From 1.
    pub round: u32,
    pub state: RoundState,
    /// The result, or why there is none.
    pub output: String,
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
    let outputs = outputs(line, run, &members).await?;
    let ended_at = view.ended_at.unwrap_or(view.started_at);
    Ok(RunResult {
        team: team.team,
        outcome: view.state,
        final_answer: view.answer,
        reason: view.reason,
        outputs,
        rounds: view.rounds,
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

async fn outputs(line: &Line, run: RunId, members: &[MemberView]) -> Result<Outputs, CallFailed> {
    let mut outputs: BTreeMap<MemberName, Vec<RoundOutput>> = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = line.ask::<RunRounds>(ListRounds { run, after }).await?;
        let last = page.rounds.last().map(|round| round.round);
        for round in page.rounds {
            if let (Some(member), Some(output)) = (round.member, round.output) {
                outputs.entry(member).or_default().push(RoundOutput {
                    round: round.round,
                    state: round.state,
                    output,
                });
            }
        }
        match last {
            Some(last) if page.more => after = last,
            Some(_) => return Ok(Outputs::ByRound(outputs)),
            None => break,
        }
    }
    let output = |member: &MemberView| Some((member.name.clone(), member.last_result.clone()?));
    Ok(Outputs::Last(members.iter().filter_map(output).collect()))
}
