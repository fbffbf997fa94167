//! Arguments and answers of `task/*`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{Generation, MemberName, Revision, RoleName, TaskId};
use crate::spec::TaskSpec;
use crate::view::TaskView;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AddTask {
    pub spec: TaskSpec,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OneTask {
    pub task: TaskId,
}

/// Fields left out stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskChanges {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// Ids or keys, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_form: Option<String>,
    /// The whole object, in place of the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// Only this member may take it. A task in progress must be released first.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub assignee: Option<MemberName>,
    /// Fields without a value from now on. Lists are cleared by an empty list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clear: Vec<ClearField>,
}

/// A field of a task that may have no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClearField {
    Role,
    For,
    Run,
    Verify,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UpdateTask {
    pub task: TaskId,
    pub changes: TaskChanges,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClaimTask {
    /// `None`: the ready task of highest priority that the caller may take.
    #[serde(default)]
    pub task: Option<TaskId>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AssignTask {
    pub task: TaskId,
    pub member: MemberName,
}

/// Arguments of complete, fail and release.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EndTask {
    pub task: TaskId,
    /// The claim that is meant. A member's call needs it; the user's may leave it out to mean the current one.
    #[serde(default)]
    pub generation: Option<Generation>,
    /// The result, the reason or the note.
    #[serde(default)]
    pub text: String,
}

/// What a change of a task left it as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskAnswer {
    pub task: TaskId,
    /// The current claim's, also after it ended.
    pub generation: Generation,
    /// The other tasks in progress that mean to touch the same files.
    #[serde(default)]
    pub overlaps: Vec<TaskId>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ListTasks {
    /// The last task of the page before; 0 for the first page.
    #[serde(default)]
    pub after: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskListAnswer {
    pub revision: Revision,
    pub tasks: Vec<TaskView>,
    /// There are more after the last of these.
    #[serde(default)]
    pub more: bool,
}

impl TaskListAnswer {
    /// What asks for the next page, unless this is the last.
    pub fn next(&self) -> Option<ListTasks> {
        let last = self.tasks.last().filter(|_| self.more)?;
        Some(ListTasks { after: last.id.0 })
    }
}
