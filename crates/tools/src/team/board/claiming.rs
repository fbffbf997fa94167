//! The tools that claim a task and change its fields.

use std::sync::Arc;

use agent_team_protocol::method::{
    ClaimTask, ClearField, OneTask, TaskAnswer, TaskChanges, TaskClaim, TaskShow, TaskUpdate,
    UpdateTask,
};
use agent_team_protocol::view::TaskView;
use agent_team_protocol::{MemberName, RoleName, TaskId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::context::TeamContext;
use super::super::lines::task_details;
use super::ending;
use super::queries::overlaps;
use crate::tool::ToolError;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Claim {
    /// Such as T-3. Default: the next ready task.
    #[schemars(with = "Option<String>")]
    task: Option<TaskId>,
}

pub(super) async fn claim(
    team_context: Arc<TeamContext>,
    args: Claim,
) -> Result<String, ToolError> {
    let claimed = take(&team_context, args.task).await?;
    let task = team_context
        .call::<TaskShow>(OneTask { task: claimed.task })
        .await?;
    let dependency_results = results_before(&team_context, &task).await;
    Ok(format!(
        "You now own {}.{}\n{}{dependency_results}",
        claimed.task,
        overlaps(&claimed),
        task_details(&task)
    ))
}

/// Claims a task, and records the claim's generation.
async fn take(team_context: &TeamContext, task: Option<TaskId>) -> Result<TaskAnswer, ToolError> {
    let claimed = team_context.call::<TaskClaim>(ClaimTask { task }).await?;
    team_context
        .shared
        .claims
        .note(claimed.task, claimed.generation);
    Ok(claimed)
}

/// The results of the task's dependencies, which its owner builds on.
async fn results_before(team_context: &TeamContext, task: &TaskView) -> String {
    let mut text = String::new();
    for before in &task.after {
        // Ignore a failure: the claim is valid without these results, and `list_tasks` shows them.
        if let Ok(before) = team_context
            .ask::<TaskShow>(OneTask { task: *before })
            .await
            && let Some(result) = &before.result
        {
            text.push_str(&format!(
                "\nResult of {} ({}):\n{result}",
                before.id, before.title
            ));
        }
    }
    text
}

/// The target state of `update_task`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Next {
    InProgress,
    Pending,
    /// Not offered in the schema; parsed so that the refusal can name the right tool.
    #[schemars(skip)]
    Completed,
}

/// An optional field that can be cleared.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Clear {
    Role,
    For,
    Run,
    Verify,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    /// Such as T-3.
    #[schemars(with = "String")]
    task: TaskId,
    title: Option<String>,
    description: Option<String>,
    priority: Option<i32>,
    labels: Option<Vec<String>>,
    /// All tasks that must be completed first, by id or exact title; replaces the previous list.
    after: Option<Vec<String>>,
    /// Only members of this role may claim it.
    #[schemars(with = "Option<String>")]
    role: Option<RoleName>,
    /// Only this member may claim it. A task in progress must be released first.
    #[serde(rename = "for")]
    #[schemars(with = "Option<String>")]
    assignee: Option<MemberName>,
    /// Globs of the files that it may change.
    files: Option<Vec<String>>,
    /// Text to show while the task is in progress, such as "Adding the tests".
    active_form: Option<String>,
    /// A JSON object that replaces the previous one.
    metadata: Option<Map<String, Value>>,
    /// Fields to clear. `after: []` removes all dependencies.
    #[serde(default)]
    clear: Vec<Clear>,
    #[serde(default)]
    #[schemars(with = "Next")]
    state: Option<Next>,
    /// With `state` pending: why it is released.
    note: Option<String>,
}

impl From<Clear> for ClearField {
    fn from(clear: Clear) -> Self {
        match clear {
            Clear::Role => Self::Role,
            Clear::For => Self::For,
            Clear::Run => Self::Run,
            Clear::Verify => Self::Verify,
        }
    }
}

pub(super) async fn update(
    team_context: Arc<TeamContext>,
    args: Update,
) -> Result<String, ToolError> {
    let task = args.task;
    let changes = TaskChanges {
        title: args.title,
        description: args.description,
        priority: args.priority,
        labels: args.labels,
        after: args.after,
        role: args.role,
        files: args.files,
        active_form: args.active_form,
        metadata: args.metadata,
        assignee: args.assignee,
        clear: args.clear.into_iter().map(Into::into).collect(),
        ..TaskChanges::default()
    };
    let changes_fields = changes.title.is_some()
        || changes.description.is_some()
        || changes.priority.is_some()
        || changes.labels.is_some()
        || changes.after.is_some()
        || changes.role.is_some()
        || changes.files.is_some()
        || changes.active_form.is_some()
        || changes.metadata.is_some()
        || changes.assignee.is_some()
        || !changes.clear.is_empty();
    let note = match (args.state, args.note) {
        (Some(Next::Completed), _) => {
            let text = "`state`: only complete_task completes a task; call it with the result";
            return Err(ToolError::Input(text.to_owned()));
        }
        (Some(Next::Pending), note) => note.unwrap_or_default(),
        (Some(Next::InProgress) | None, None) => String::new(),
        (Some(Next::InProgress) | None, Some(_)) => {
            let text = "`note` requires `state` pending; to write to a member, use send_message";
            return Err(ToolError::Input(text.to_owned()));
        }
    };
    if !changes_fields && args.state.is_none() {
        let text = "Nothing to change: give `state` or at least one field";
        return Err(ToolError::Input(text.to_owned()));
    }
    let mut lines = Vec::new();
    if args.state == Some(Next::InProgress) {
        let claimed = take(&team_context, Some(task)).await?;
        lines.push(format!("You now own {task}.{}", overlaps(&claimed)));
    }
    if changes_fields {
        let changed = team_context
            .call::<TaskUpdate>(UpdateTask { task, changes })
            .await?;
        lines.push(format!("{task} is changed.{}", overlaps(&changed)));
    }
    if args.state == Some(Next::Pending) {
        lines.push(ending::release_with(&team_context, task, note).await?);
    }
    Ok(lines.join("\n"))
}
