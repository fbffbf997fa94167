//! The state of a team for AG-UI front ends: one JSON document, changed by JSON Patches.
//!
//! ```text
//! { "members": { "ada": { "role": "worker", "lead": false, "state": "ready", "why": null } },
//!   "tasks":   { "T-3": { "title": "…", "state": "in_progress", "owner": "ada", … } } }
//! ```
//! A member's state is `planned`, `launching`, `ready`, `draining`, `cooling`, `held` or `stopped`; `why` is a reason
//! for the user. A task has the fields and states of `task list --json`, without those derived from other tasks. A
//! patch only adds (which in RFC 6902 also replaces) and removes, always with absolute values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{Generation, MemberName, Party, RoleName, TaskId};
use crate::view::{MemberState, MemberView, TaskState, TaskView, TeamView};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub members: BTreeMap<MemberName, Member>,
    pub tasks: BTreeMap<TaskId, Task>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub role: RoleName,
    pub lead: bool,
    pub state: Life,
    pub why: Option<String>,
}

/// Whether the member has a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    Planned,
    Launching,
    Ready,
    Draining,
    Cooling,
    Held,
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
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
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    Add { path: String, value: Value },
    Remove { path: String },
}

/// `path` needs no escaping: names and ids contain no character that a JSON Pointer must escape.
pub(super) fn add(path: String, value: impl Serialize) -> Operation {
    let value = serde_json::to_value(value).expect("bare data has a JSON form");
    Operation::Add { path, value }
}

impl Document {
    /// The state at the revision of `team`; its tasks may be newer.
    pub(super) fn of(team: &TeamView, tasks: &[TaskView]) -> Self {
        Self {
            members: team
                .members
                .iter()
                .map(|member| (member.name.clone(), Member::of(member)))
                .collect(),
            tasks: tasks.iter().map(|task| (task.id, Task::of(task))).collect(),
        }
    }
}

impl Member {
    fn of(view: &MemberView) -> Self {
        let (state, is_explained) = match view.state {
            MemberState::Planned => (Life::Planned, false),
            MemberState::Launching => (Life::Launching, false),
            MemberState::Idle
            | MemberState::Working
            | MemberState::Waiting
            | MemberState::Unresponsive
            | MemberState::Unknown => (Life::Ready, false),
            MemberState::Draining => (Life::Draining, true),
            MemberState::Cooling => (Life::Cooling, true),
            MemberState::Held => (Life::Held, true),
            MemberState::Stopped => (Life::Stopped, false),
        };
        Self {
            role: view.role.clone(),
            lead: view.lead,
            state,
            why: is_explained.then(|| view.why.clone()),
        }
    }
}

impl Task {
    fn of(view: &TaskView) -> Self {
        let view = view.clone();
        Self {
            key: view.key,
            title: view.title,
            description: view.description,
            priority: view.priority,
            labels: view.labels,
            after: view.after,
            role: view.role,
            assignee: view.assignee,
            files: view.files,
            run: view.run,
            verify: view.verify,
            active_form: view.active_form,
            metadata: view.metadata,
            created_by: view.created_by,
            state: view.state,
            owner: view.owner,
            generation: view.generation,
            attempts: view.attempts,
            result: view.result,
        }
    }
}
