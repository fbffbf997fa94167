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

/// Changes of a task. Omitted fields stay as they are.
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
    /// The complete list of the tasks on which this task depends, by id or key.
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
    /// The whole object; it replaces the previous one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// Only this member may claim the task. A task in progress must be released first.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub assignee: Option<MemberName>,
    /// Fields to clear. Lists are cleared by an empty list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clear: Vec<ClearField>,
}

/// An optional field of a task.
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
    /// `None`: the ready task of highest priority that the caller may claim.
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
    /// The generation of the claim. Required for members. The user may omit it to mean the current claim.
    #[serde(default)]
    pub generation: Option<Generation>,
    /// The result, the reason or the note.
    #[serde(default)]
    pub text: String,
}

/// The state of a task after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskAnswer {
    pub task: TaskId,
    /// The generation of the current claim, or of the last claim.
    pub generation: Generation,
    /// Other tasks in progress that declare overlapping files.
    #[serde(default)]
    pub overlaps: Vec<TaskId>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ListTasks {
    /// The last task of the previous page; 0 for the first page.
    #[serde(default)]
    pub after: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskListAnswer {
    pub revision: Revision,
    pub tasks: Vec<TaskView>,
    /// More tasks follow the last one of this page.
    #[serde(default)]
    pub more: bool,
}

impl TaskListAnswer {
    /// The arguments for the next page; `None` if this page is the last one.
    pub fn next(&self) -> Option<ListTasks> {
        let last = self.tasks.last().filter(|_| self.more)?;
        Some(ListTasks { after: last.id.0 })
    }

    /// Returns all tasks of the board. `read` fetches one page.
    ///
    /// # Errors
    /// The first error of `read`.
    pub async fn read_all<E, F>(mut read: impl FnMut(ListTasks) -> F) -> Result<Vec<TaskView>, E>
    where
        F: Future<Output = Result<Self, E>>,
    {
        let mut tasks = Vec::new();
        let mut next = Some(ListTasks::default());
        while let Some(list) = next {
            let page = read(list).await?;
            next = page.next();
            tasks.extend(page.tasks);
        }
        Ok(tasks)
    }
}
