//! Arguments and answers of `run/*`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::id::{RunId, TaskId};
use crate::value::Effort;
use crate::view::RoundView;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StartRun {
    pub goal: String,
    /// The team goes down when the run ends.
    #[serde(default)]
    pub then_down: bool,
    /// Replace a run that is under way.
    #[serde(default)]
    pub anew: bool,
    /// The initial contents of the team's shared memory: JSON by key.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, serde_json::Value>"))]
    pub memory: BTreeMap<String, Box<RawValue>>,
    /// How much the models of all members think until the run ends. `None`: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
    /// Images and PDFs that the goal names may be outside the project: the user typed the goal on this machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attach_outside: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunAnswer {
    pub run: RunId,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FinishRun {
    pub answer: String,
    /// Finish even if tasks are open.
    #[serde(default)]
    pub force: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CancelRun {
    /// Sent to the lead and to the callers that wait for the run.
    #[serde(default)]
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CancelAnswer {
    pub run: RunId,
    /// Tasks that were cancelled with the run.
    pub tasks: Vec<TaskId>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WaitRun {
    pub run: RunId,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReplyToRun {
    pub run: RunId,
    /// The round of the question.
    pub round: u32,
    /// The model's reply, unchanged.
    pub text: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ListRounds {
    pub run: RunId,
    /// The last round of the previous page; 0 for the first page.
    #[serde(default)]
    pub after: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RoundListAnswer {
    pub rounds: Vec<RoundView>,
    /// More rounds follow the last one of this page.
    #[serde(default)]
    pub more: bool,
}

impl ListRounds {
    /// The arguments for the first page.
    pub fn of(run: RunId) -> Self {
        Self { run, after: 0 }
    }

    /// The arguments for the page after `page`; `None` if `page` is the last one.
    pub fn next(self, page: &RoundListAnswer) -> Option<Self> {
        let last = page.rounds.last().filter(|_| page.more)?;
        let after = last.round;
        Some(Self { after, ..self })
    }
}
