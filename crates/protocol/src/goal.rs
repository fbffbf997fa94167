//! The newest goal of a team, with its duration, tasks and cost, as every screen shows it. Pure.

use serde::{Deserialize, Serialize};

use crate::RunId;
use crate::text::{dollars, duration};

/// The progress of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    UnderWay,
    Finished,
    /// All rounds were used without an answer.
    MaxRounds,
    /// No member can continue the run.
    Failed,
    /// The user cancelled the run.
    Cancelled,
    /// Another goal replaced the goal of this run.
    Abandoned,
    #[serde(other)]
    Unknown,
}

/// The newest goal of a team; `run/wait` returns the whole goal and answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GoalView {
    pub run: RunId,
    pub state: RunState,
    /// The beginning of the goal, on one line.
    pub goal: String,
    /// Once the run has ended: the first line of the answer, or the reason why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// The time from the start of the goal to its end, or to now, in milliseconds.
    pub took_ms: u64,
    /// The number of completed tasks that were added since the goal was given.
    pub tasks: u64,
    /// The number of files that members changed with their edit tools since the goal was given; at most 1000 are
    /// counted. Changes by commands are unknown.
    #[serde(default)]
    pub files: u64,
    /// The cost since the goal was given, in millionths of a US dollar; 0 if no price is known.
    #[serde(default)]
    pub micro_usd: u64,
    /// The tokens without a known price that were used since the goal was given.
    #[serde(default)]
    pub unpriced: u64,
}

impl GoalView {
    /// The headline of the goal, such as `Done in 42 s · 3 tasks · 2 files · $0.31`.
    pub fn headline(&self) -> String {
        let took = duration(self.took_ms);
        let mut text = match self.state {
            RunState::Finished => format!("Done in {took}"),
            RunState::UnderWay => format!("Working for {took}"),
            RunState::Cancelled => format!("Cancelled after {took}"),
            RunState::Abandoned => format!("Abandoned after {took}"),
            RunState::MaxRounds | RunState::Failed => format!("Failed after {took}"),
            RunState::Unknown => format!("Ended after {took}"),
        };
        for (count, noun) in [(self.tasks, "task"), (self.files, "file")] {
            match count {
                0 => {}
                1 => text.push_str(&format!(" · 1 {noun}")),
                count => text.push_str(&format!(" · {count} {noun}s")),
            }
        }
        match (self.micro_usd, self.unpriced) {
            (0, _) => {}
            (micro_usd, 0) => text.push_str(&format!(" · {}", dollars(micro_usd))),
            (micro_usd, _) => text.push_str(&format!(" · {} + unpriced", dollars(micro_usd))),
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_headline_omits_zero_counts_and_costs() {
        let mut goal = GoalView {
            run: RunId(1),
            state: RunState::Finished,
            goal: "Fix the parser".to_owned(),
            answer: None,
            took_ms: 42_300,
            tasks: 0,
            files: 0,
            micro_usd: 0,
            unpriced: 0,
        };
        assert_eq!(goal.headline(), "Done in 42 s");
        (goal.tasks, goal.micro_usd) = (3, 310_000);
        assert_eq!(goal.headline(), "Done in 42 s · 3 tasks · $0.31");
        goal.files = 2;
        assert_eq!(goal.headline(), "Done in 42 s · 3 tasks · 2 files · $0.31");
        (goal.tasks, goal.files, goal.state) = (1, 1, RunState::Failed);
        assert_eq!(
            goal.headline(),
            "Failed after 42 s · 1 task · 1 file · $0.31"
        );
        goal.unpriced = 1;
        assert!(goal.headline().ends_with(" · $0.31 + unpriced"));
        goal.micro_usd = 0;
        assert!(goal.headline().ends_with(" · 1 file"));
    }
}
