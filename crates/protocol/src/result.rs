//! The result of a team's work as one document: `run --json` and `up --wait --json` print it, and the embedding library
//! returns it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::view::{
    MemberView, RoundState, RoundView, RunState, RunView, TaskState, TaskView, TeamView, Usage,
};
use crate::{MemberName, Party, TeamId};

/// The result of a run (`run`), or of waiting until no task of the board can run (`up --wait`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "RunResult"))]
#[non_exhaustive]
pub struct RunResult<O = RunState> {
    pub team: TeamId,
    pub outcome: O,
    /// The lead's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_answer: Option<String>,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub outputs: Outputs,
    /// The number of rounds of the run, in a team that works in rounds.
    pub rounds: u32,
    pub tasks: Vec<TaskView>,
    pub members: Vec<MemberView>,
    /// The calls that were denied, such as `write: out.txt`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<String>,
    /// Input and output tokens of all models of the team so far.
    pub tokens: u64,
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// US dollars. `None`: some tokens have no known price.
    pub cost: Option<f64>,
    pub durations: Durations,
}

/// The results of the members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Outputs {
    /// For each member, the result of its last completed or failed task; for a failed task, the reason. Used unless the
    /// run had rounds.
    Last(BTreeMap<MemberName, String>),
    /// The outputs of each member's rounds.
    ByRound(BTreeMap<MemberName, Vec<RoundOutput>>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RoundOutput {
    /// From 1.
    pub round: u32,
    pub state: RoundState,
    /// The result, or the reason why there is no result.
    pub output: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Durations {
    pub total_ms: u64,
}

impl RunResult {
    /// The result of a run that has ended, from its rounds, and from the team and the board at that time.
    pub fn of_run(
        run: RunView,
        rounds: Vec<RoundView>,
        team: TeamView,
        tasks: Vec<TaskView>,
        total_ms: u64,
    ) -> Self {
        let mut result = Self::of_board(team.team, run.state, team.members, tasks, total_ms);
        result.final_answer = run.answer;
        result.reason = run.reason;
        result.rounds = run.rounds;
        if !rounds.is_empty() {
            result.outputs = Outputs::by_round(rounds);
        }
        result
    }
}

impl<O> RunResult<O> {
    /// The result of a board on which no task can run.
    pub fn of_board(
        team: TeamId,
        outcome: O,
        members: Vec<MemberView>,
        tasks: Vec<TaskView>,
        total_ms: u64,
    ) -> Self {
        let usage: Usage = members.iter().map(|member| member.usage).sum();
        Self {
            team,
            outcome,
            final_answer: None,
            reason: None,
            outputs: Outputs::last(&tasks),
            rounds: 0,
            tasks,
            members,
            denied: Vec::new(),
            tokens: usage.tokens(),
            tokens_in: usage.input,
            tokens_out: usage.output,
            cost: usage.usd(),
            durations: Durations { total_ms },
        }
    }
}

impl Outputs {
    fn last(tasks: &[TaskView]) -> Self {
        let mut ended: Vec<&TaskView> = tasks
            .iter()
            .filter(|task| is_completed_or_failed(task))
            .collect();
        ended.sort_by_key(|task| task.revision);
        let output = |task: &TaskView| match (&task.owner, &task.result) {
            (Some(Party::Member(owner)), Some(result)) => Some((owner.clone(), result.clone())),
            _ => None,
        };
        // A later result of a member replaces the earlier results.
        Self::Last(ended.into_iter().filter_map(output).collect())
    }

    fn by_round(rounds: Vec<RoundView>) -> Self {
        let mut outputs: BTreeMap<MemberName, Vec<RoundOutput>> = BTreeMap::new();
        for round in rounds {
            if let (Some(member), Some(output)) = (round.member, round.output) {
                outputs.entry(member).or_default().push(RoundOutput {
                    round: round.round,
                    state: round.state,
                    output,
                });
            }
        }
        Self::ByRound(outputs)
    }
}

fn is_completed_or_failed(task: &TaskView) -> bool {
    matches!(task.state, TaskState::Completed | TaskState::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(round: u32, member: Option<&str>, output: Option<&str>) -> RoundView {
        serde_json::from_value(serde_json::json!({
            "round": round,
            "member": member,
            "state": "completed",
            "output": output,
        }))
        .expect("a round")
    }

    #[test]
    fn outputs_are_the_last_results_of_the_members() {
        let task = |id: &str, revision: u64, owner: &str, state: &str, result: Option<&str>| {
            let task = serde_json::json!({
                "id": id, "key": id, "title": "Do it", "description": "", "state": state,
                "owner": owner, "generation": 1, "role": null, "for": null, "after": [],
                "blocks": [], "blocked": false, "priority": 0, "labels": [], "files": [],
                "run": null, "verify": null, "rerun": true, "attempts": 1, "created_by": "user",
                "created_at": 0, "changed_at": 0, "revision": revision, "result": result,
            });
            serde_json::from_value::<TaskView>(task).expect("a task")
        };
        let outputs = Outputs::last(&[
            task("T-1", 9, "ada", "completed", Some("the newer result")),
            task("T-2", 5, "ada", "completed", Some("the older result")),
            task("T-3", 6, "ben", "failed", Some("no compiler")),
            task("T-4", 7, "user", "completed", Some("done by hand")),
            task("T-5", 8, "cleo", "pending", Some("a note")),
        ]);
        let json = serde_json::to_value(outputs).expect("outputs have a JSON form");
        let expected = serde_json::json!({"ada": "the newer result", "ben": "no compiler"});
        assert_eq!(json, expected);
    }

    #[test]
    fn a_member_keeps_the_outputs_of_all_its_rounds() {
        let rounds = vec![
            round(1, Some("ada"), Some("one")),
            round(2, None, Some("nobody")),
            round(3, Some("ada"), Some("three")),
            round(4, Some("ben"), None),
        ];
        let Outputs::ByRound(outputs) = Outputs::by_round(rounds) else {
            panic!("the outputs are not by round");
        };
        let members: Vec<_> = outputs.into_iter().collect();
        assert_eq!(members.len(), 1);
        let texts = members[0].1.iter().map(|it| (it.round, it.output.as_str()));
        assert_eq!(texts.collect::<Vec<_>>(), [(1, "one"), (3, "three")]);
    }
}
