//! The state of a team for AG-UI front ends: one JSON document, changed by JSON Patches.
//!
//! ```text
//! { "members": { "ada": { "role": "worker", "lead": false, "state": "ready", "why": null } },
//!   "tasks":   { "T-3": { "title": "…", "state": "in_progress", "owner": "ada", … } } }
//! ```
//! A member's state is `planned`, `launching`, `ready`, `draining`, `cooling`, `held` or `stopped`; `why` is a reason
//! for the user. A task has a state of `task list --json`, and most fields of a task in that list. A patch contains
//! only `add` and `remove` operations; in RFC 6902, `add` also replaces a value. Each value is complete, never a
//! difference.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{Generation, MemberName, Party, RoleName, TaskId};
use crate::view::TaskState;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StateSnapshot {
    pub members: BTreeMap<MemberName, MemberSnapshot>,
    pub tasks: BTreeMap<TaskId, TaskSnapshot>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberSnapshot {
    pub role: RoleName,
    pub lead: bool,
    pub state: LaunchState,
    pub why: Option<String>,
}

/// The state of the member's launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LaunchState {
    Planned,
    Launching,
    Ready,
    Draining,
    Cooling,
    Held,
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskSnapshot {
    pub key: String,
    pub title: String,
    pub description: String,
    pub priority: i32,
    pub labels: Vec<String>,
    pub after: Vec<TaskId>,
    pub role: Option<RoleName>,
    #[serde(rename = "for")]
    pub assignee: Option<MemberName>,
    pub files: Vec<String>,
    pub run: Option<String>,
    pub verify: Option<String>,
    #[serde(default)]
    pub active_form: Option<String>,
    #[serde(default)]
    pub metadata: Option<Map<String, Value>>,
    pub created_by: Party,
    pub state: TaskState,
    pub owner: Option<Party>,
    pub generation: Generation,
    pub attempts: u32,
    pub result: Option<String>,
}

/// One operation of a JSON Patch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    Add { path: String, value: Value },
    Remove { path: String },
}
