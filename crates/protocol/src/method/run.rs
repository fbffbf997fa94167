//! Arguments and answers of `run/*`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::id::{RunId, TaskId};
use crate::view::RoundView;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StartRun {
    pub goal: String,
    /// When it ends, the members are ended too.
    #[serde(default)]
    pub then_down: bool,
    /// In place of a run that is under way.
    #[serde(default)]
    pub anew: bool,
    /// What the team's shared memory holds at its start: JSON by key.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, serde_json::Value>"))]
    pub memory: BTreeMap<String, Box<RawValue>>,
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
    /// Also with tasks that are not finished.
    #[serde(default)]
    pub force: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CancelRun {
    /// For the lead, and for the callers that wait for the run.
    #[serde(default)]
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CancelAnswer {
    pub run: RunId,
    /// Tasks that were cancelled with it.
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
    /// Of the question.
    pub round: u32,
    /// As the model said it.
    pub text: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ListRounds {
    pub run: RunId,
    /// The last round of the page before; 0 for the first page.
    #[serde(default)]
    pub after: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RoundListAnswer {
    pub rounds: Vec<RoundView>,
    /// There are more after the last of these.
    #[serde(default)]
    pub more: bool,
}

impl ListRounds {
    /// What asks for the first page.
    pub fn of(run: RunId) -> Self {
        Self { run, after: 0 }
    }

    /// What asks for the page after this one, unless it is the last.
    pub fn next(self, page: &RoundListAnswer) -> Option<Self> {
        let last = page.rounds.last().filter(|_| page.more)?;
        let after = last.round;
        Some(Self { after, ..self })
    }
}
