//! How a task becomes this member's, and how she changes it.

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

use super::super::Seat;
use super::super::lines::task_sheet;
use super::{ending, overlaps};
use crate::tool::ToolError;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Claim {
    /// Such as T-3; left out: the next one.
    #[schemars(with = "Option<String>")]
    task: Option<TaskId>,
}

pub(super) async fn claim(seat: Arc<Seat>, args: Claim) -> Result<String, ToolError> {
    let claimed = take(&seat, args.task).await?;
    let task = seat
        .call::<TaskShow>(OneTask { task: claimed.task })
        .await?;
    let waited_for = results_before(&seat, &task).await;
    Ok(format!(
        "You own {} now.{}\n{}{waited_for}",
        claimed.task,
        overlaps(&claimed),
        task_sheet(&task)
    ))
}

/// Claims a task, and keeps the claim's generation.
async fn take(seat: &Seat, task: Option<TaskId>) -> Result<TaskAnswer, ToolError> {
    let claimed = seat.call::<TaskClaim>(ClaimTask { task }).await?;
    seat.shared.claims.note(claimed.task, claimed.generation);
    Ok(claimed)
}

/// What came of the tasks that this one waited for: its owner builds on them.
async fn results_before(seat: &Seat, task: &TaskView) -> String {
    let mut text = String::new();
    for before in &task.after {
        // Without one of them the claim still holds, and `list_tasks` has it.
        if let Ok(before) = seat.ask::<TaskShow>(OneTask { task: *before }).await
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

/// A state that `update_task` leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Next {
    InProgress,
    Pending,
    /// Not offered: read so that the refusal can name the tool.
    #[schemars(skip)]
    Completed,
}

/// A field that may have no value.
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
    /// All that must be completed first, by id or exact title, in place of those before.
    after: Option<Vec<String>>,
    /// Only members of this role may take it.
    #[schemars(with = "Option<String>")]
    role: Option<RoleName>,
    /// Only this member may take it. A task in progress must be released first.
    #[serde(rename = "for")]
    #[schemars(with = "Option<String>")]
    assignee: Option<MemberName>,
    /// Globs of the files that it may change.
    files: Option<Vec<String>>,
    /// The work while it is in progress, such as "Adding the tests".
    active_form: Option<String>,
    /// A JSON object in place of the one before.
    metadata: Option<Map<String, Value>>,
    /// Fields to take away. `after: []` frees a task from everything that it waits for.
    #[serde(default)]
    clear: Vec<Clear>,
    #[serde(default)]
    #[schemars(with = "Next")]
    state: Option<Next>,
    /// With `state` pending: why it is given back.
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

pub(super) async fn update(seat: Arc<Seat>, args: Update) -> Result<String, ToolError> {
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
            let text = "`note` goes with `state` pending; to write to a member, use send_message";
            return Err(ToolError::Input(text.to_owned()));
        }
    };
    if !changes_fields && args.state.is_none() {
        let text = "Nothing to change: give `state` or at least one field";
        return Err(ToolError::Input(text.to_owned()));
    }
    let mut told = Vec::new();
    if args.state == Some(Next::InProgress) {
        let claimed = take(&seat, Some(task)).await?;
        told.push(format!("You own {task} now.{}", overlaps(&claimed)));
    }
    if changes_fields {
        let changed = seat
            .call::<TaskUpdate>(UpdateTask { task, changes })
            .await?;
        told.push(format!("{task} is changed.{}", overlaps(&changed)));
    }
    if args.state == Some(Next::Pending) {
        told.push(ending::release_with(&seat, task, note).await?);
    }
    Ok(told.join("\n"))
}
