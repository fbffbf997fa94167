//! What is wanted of a team, as far as its decisions depend on it. The rest travels along as opaque settings.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::{MemberName, RoleName, TaskId};

use crate::budget::Budget;
use crate::round::Strategy;

/// One member as wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberPlan {
    pub name: MemberName,
    pub role: RoleName,
    pub lead: bool,
    pub takes: Takes,
    /// Her engine starts a foreign agent, so that her start counts against `limits.starting`.
    pub foreign: bool,
    /// Made by `spawn`, and so left alone by `up`.
    pub by_hand: bool,
    /// How she is launched; a difference means a new launch. The core never looks inside.
    pub settings: Arc<str>,
    /// How she is shown.
    pub colour: Arc<str>,
    /// What she may spend. `None`: she asks no model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// She may change nothing before a plan of hers is approved: see [`crate::lock`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_plan: bool,
}

/// Which ready tasks an idle member takes by herself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takes {
    /// Also those that are assigned to nobody.
    pub unassigned: bool,
    /// Also those without a `run` line.
    pub without_run: bool,
}

/// One task as wanted, its dependencies resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskPlan {
    pub key: Arc<str>,
    pub title: Arc<str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub description: Arc<str>,
    #[serde(default)]
    pub priority: i32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Arc<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<TaskId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub assignee: Option<MemberName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Arc<str>>,
    pub rerun: bool,
    /// The work while it is in progress, such as "Adding the tests".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_form: Option<Arc<str>>,
    /// Data of the creator's own: the text of a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Arc<str>>,
    /// Stands in the team file, where `key` is its identity.
    pub from_file: bool,
}

impl TaskPlan {
    /// Keeps equal texts once: a board is long, and most tasks have their title for a key and no description.
    pub(crate) fn share_texts(&mut self) {
        if self.title == self.key {
            self.title = self.key.clone();
        }
        if self.description.is_empty() {
            self.description = Arc::default();
        }
    }
}

/// A task of the team file, whose dependencies are still keys of the same file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTask {
    /// Its `after` is empty.
    pub plan: TaskPlan,
    pub after: Vec<Arc<str>>,
}

/// The team's own part of the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamPlan {
    /// Teammates that are not stopped, at most: the lead is not counted.
    pub teammates: u32,
    /// Launches of foreign agents under way at once, at most.
    pub starting: u32,
    /// What all of them may spend together.
    #[serde(default, skip_serializing_if = "Budget::is_empty")]
    pub budget: Budget,
    /// There is a hook to ask before a task counts as completed.
    pub asks_before_completing: bool,
    /// There is a hook to ask when a member has nothing to do.
    pub asks_when_idle: bool,
    #[serde(default, skip_serializing_if = "is_lead")]
    pub strategy: Strategy,
    /// Milliseconds after which a request that nobody answered is denied. `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_expire_ms: Option<u64>,
    /// Placement, layout, hooks, roles. The core never looks inside.
    pub settings: Arc<str>,
}

fn is_lead(strategy: &Strategy) -> bool {
    *strategy == Strategy::Lead
}
