//! The tools for the board. The lead creates, assigns and cancels tasks; every member lists, claims and ends them.

mod claiming;
mod creating;
mod ending;
mod queries;

use std::sync::Arc;

use agent_team_protocol::method::{AssignTask, OneTask, TaskAssign, TaskCancel, TaskShow};
use agent_team_protocol::view::{TaskState, TaskView};
use agent_team_protocol::{MemberName, Party, TaskId};
use schemars::JsonSchema;
use serde::Deserialize;

use super::context::{TeamContext, changing, reading};
use super::lines::{task_details, task_line};
use crate::permission::Permission;
use crate::tool::{Tool, ToolError};

pub(super) use queries::{open_tasks, whole_board};

/// The tools that end a claim.
pub const ENDS_TASK: [&str; 3] = ["complete_task", "fail_task", "release_task"];

/// The largest number of lines of a list; a filter by state or owner shortens the list.
const LISTED: usize = 200;

pub(super) fn tools_of_the_lead(
    team_context: &Arc<TeamContext>,
    permission: &Permission,
) -> [Box<dyn Tool>; 3] {
    [
        creating::create_task(team_context, permission),
        changing(
            team_context,
            "assign_task",
            "Assign a task to one member, which claims it at once if idle. A task in progress must be released or \
             cancelled first.",
            assign,
        ),
        changing(
            team_context,
            "cancel_task",
            "Cancel a task permanently; its owner stops working on it.",
            cancel,
        ),
    ]
}

pub(super) fn tools(team_context: &Arc<TeamContext>) -> [Box<dyn Tool>; 6] {
    [
        reading(
            team_context,
            "list_tasks",
            "List the board: one line per task, with its state, owner, dependencies and result. Lists all tasks, \
             those of one state or owner, or one task in full.",
            list,
        ),
        changing(
            team_context,
            "claim_task",
            "Claim a task, which makes you its only owner, and show it in full. Without an id: the ready task of \
             highest priority that you may claim. A task has exactly one owner; if the claim is refused, claim \
             another task.",
            claiming::claim,
        ),
        changing(
            team_context,
            "update_task",
            "Change fields of a task; omitted fields stay unchanged. `state` in_progress claims it, pending releases \
             it; complete_task completes it. Other fields may be changed only by its owner (its creator if it has no \
             owner) and by the lead.",
            claiming::update,
        ),
        changing(
            team_context,
            "complete_task",
            "Complete a task that you own. Only this call completes it: an answer alone does not. The lead and \
             the owners of the tasks that depend on it read the result.",
            ending::complete,
        ),
        changing(
            team_context,
            "fail_task",
            "Mark a task that cannot be done as failed, with the reason; the lead decides what follows.",
            ending::fail,
        ),
        changing(
            team_context,
            "release_task",
            "Return a task that you own to the board, for another member or for later.",
            ending::release,
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Assign {
    /// Such as T-3.
    #[schemars(with = "String")]
    task: TaskId,
    /// The member's name.
    #[schemars(with = "String")]
    member: MemberName,
}

async fn assign(team_context: Arc<TeamContext>, args: Assign) -> Result<String, ToolError> {
    give(&team_context, args.task, args.member.clone()).await?;
    Ok(format!("{} is assigned to {}.", args.task, args.member))
}

pub(super) async fn give(
    team_context: &TeamContext,
    task: TaskId,
    member: MemberName,
) -> Result<(), ToolError> {
    team_context
        .call::<TaskAssign>(AssignTask { task, member })
        .await?;
    Ok(())
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TaskArgs {
    /// Such as T-3.
    #[schemars(with = "String")]
    task: TaskId,
}

async fn cancel(team_context: Arc<TeamContext>, args: TaskArgs) -> Result<String, ToolError> {
    team_context
        .call::<TaskCancel>(OneTask { task: args.task })
        .await?;
    Ok(format!("{} is cancelled.", args.task))
}

/// A state to filter the list by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum StateFilter {
    Pending,
    Ready,
    Blocked,
    InProgress,
    Completed,
    Failed,
    Cancelled,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {
    /// Only tasks in this state; `pending` is ready and blocked tasks together.
    #[serde(default)]
    #[schemars(with = "StateFilter")]
    state: Option<StateFilter>,
    /// Only tasks of this owner: a member's name, or `user`.
    #[schemars(with = "Option<String>")]
    owner: Option<Party>,
    /// Show only this task, in full, such as T-3.
    #[schemars(with = "Option<String>")]
    task: Option<TaskId>,
}

async fn list(team_context: Arc<TeamContext>, args: List) -> Result<String, ToolError> {
    if let Some(task) = args.task {
        if args.state.is_some() || args.owner.is_some() {
            let text = "`task` shows one task and cannot be combined with `state` or `owner`";
            return Err(ToolError::Input(text.to_owned()));
        }
        return Ok(task_details(
            &team_context.call::<TaskShow>(OneTask { task }).await?,
        ));
    }
    let board = whole_board(&team_context).await?;
    let is_wanted = |task: &&TaskView| {
        args.state.is_none_or(|state| is_in(task, state))
            && (args.owner.is_none() || task.owner == args.owner)
    };
    let wanted: Vec<_> = board.iter().filter(is_wanted).collect();
    if wanted.is_empty() {
        let narrowed = args.state.is_some() || args.owner.is_some();
        let none = if narrowed {
            "No task matches."
        } else {
            "The board is empty."
        };
        return Ok(none.to_owned());
    }
    let mut lines: Vec<_> = wanted
        .iter()
        .take(LISTED)
        .map(|task| task_line(task))
        .collect();
    if wanted.len() > LISTED {
        let more = wanted.len() - LISTED;
        lines.push(format!(
            "… and {more} more: narrow the list by state or owner"
        ));
    }
    Ok(lines.join("\n"))
}

fn is_in(task: &TaskView, state: StateFilter) -> bool {
    let pending = task.state == TaskState::Pending;
    match state {
        StateFilter::Pending => pending,
        StateFilter::Ready => pending && !task.blocked,
        StateFilter::Blocked => pending && task.blocked,
        StateFilter::InProgress => task.state == TaskState::InProgress,
        StateFilter::Completed => task.state == TaskState::Completed,
        StateFilter::Failed => task.state == TaskState::Failed,
        StateFilter::Cancelled => task.state == TaskState::Cancelled,
    }
}
