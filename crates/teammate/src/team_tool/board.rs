//! The board: creating, giving and cancelling tasks for the lead; looking, claiming and ending them for everybody.

mod claiming;
mod creating;
mod ending;

use std::sync::Arc;

use agent_team_protocol::method::{
    AssignTask, ListTasks, OneTask, TaskAnswer, TaskAssign, TaskCancel, TaskList, TaskShow,
};
use agent_team_protocol::view::{TaskState, TaskView};
use agent_team_protocol::{MemberName, Party, TaskId};
use schemars::JsonSchema;
use serde::Deserialize;

use super::lines::{ids, is_open, task_line, task_sheet};
use super::{Seat, changing, reading};
use crate::tool::{Permission, Tool, ToolError};

/// The tools that end a claim.
pub(crate) const ENDS_TASK: [&str; 3] = ["complete_task", "fail_task", "release_task"];

/// Lines of a list: who wants others narrows it.
const LISTED: usize = 200;

pub(super) fn tools_of_the_lead(seat: &Arc<Seat>, permission: &Permission) -> [Box<dyn Tool>; 3] {
    [
        creating::tool(seat, permission),
        changing(
            seat,
            "assign_task",
            "Gives a task to one member, who claims it at once if idle. A task in progress must be released or \
             cancelled first.",
            assign,
        ),
        changing(
            seat,
            "cancel_task",
            "Takes a task off the board for good; whoever works on it stops.",
            cancel,
        ),
    ]
}

pub(super) fn tools(seat: &Arc<Seat>) -> [Box<dyn Tool>; 6] {
    [
        reading(
            seat,
            "list_tasks",
            "The board: one line per task, with its state, owner, dependencies and result. All tasks, those of one \
             state or owner, or one task in full.",
            list,
        ),
        changing(
            seat,
            "claim_task",
            "Claims a task, which makes you its only owner, and shows it in full. Without an id: the ready task of \
             highest priority that you may take. Exactly one member gets a task; if you are refused, take another.",
            claiming::claim,
        ),
        changing(
            seat,
            "update_task",
            "Change fields of a task; what is left out stays. `state` in_progress claims it, pending releases it; \
             complete_task completes it. Only its owner and the lead may.",
            claiming::update,
        ),
        changing(
            seat,
            "complete_task",
            "Completes a task that you own. Nothing else completes it: an answer without this call does not. The lead \
             and the owners of the tasks that wait for it read the result.",
            ending::complete,
        ),
        changing(
            seat,
            "fail_task",
            "Ends a task that cannot be done, with the reason; the lead decides what follows.",
            ending::fail,
        ),
        changing(
            seat,
            "release_task",
            "Gives a task that you own back to the board, for somebody else or for later.",
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

async fn assign(seat: Arc<Seat>, args: Assign) -> Result<String, ToolError> {
    give(&seat, args.task, args.member.clone()).await?;
    Ok(format!("{} is for {}.", args.task, args.member))
}

pub(super) async fn give(seat: &Seat, task: TaskId, member: MemberName) -> Result<(), ToolError> {
    seat.call::<TaskAssign>(AssignTask { task, member }).await?;
    Ok(())
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct One {
    /// Such as T-3.
    #[schemars(with = "String")]
    task: TaskId,
}

async fn cancel(seat: Arc<Seat>, args: One) -> Result<String, ToolError> {
    seat.call::<TaskCancel>(OneTask { task: args.task }).await?;
    Ok(format!("{} is cancelled.", args.task))
}

/// A state by which the board is narrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Shown {
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
    /// Only these; pending is ready and blocked ones together.
    #[serde(default)]
    #[schemars(with = "Shown")]
    state: Option<Shown>,
    /// Only those of this owner: a member's name, or `user`.
    #[schemars(with = "Option<String>")]
    owner: Option<Party>,
    /// This one alone, in full, such as T-3.
    #[schemars(with = "Option<String>")]
    task: Option<TaskId>,
}

async fn list(seat: Arc<Seat>, args: List) -> Result<String, ToolError> {
    if let Some(task) = args.task {
        if args.state.is_some() || args.owner.is_some() {
            let text = "`task` shows one task, and goes with neither `state` nor `owner`";
            return Err(ToolError::Input(text.to_owned()));
        }
        return Ok(task_sheet(&seat.call::<TaskShow>(OneTask { task }).await?));
    }
    let board = whole_board(&seat).await?;
    let is_wanted = |task: &&TaskView| {
        args.state.is_none_or(|state| is_in(task, state))
            && (args.owner.is_none() || task.owner == args.owner)
    };
    let wanted: Vec<_> = board.iter().filter(is_wanted).collect();
    if wanted.is_empty() {
        let narrowed = args.state.is_some() || args.owner.is_some();
        let none = if narrowed {
            "No such task."
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

fn is_in(task: &TaskView, state: Shown) -> bool {
    let pending = task.state == TaskState::Pending;
    match state {
        Shown::Pending => pending,
        Shown::Ready => pending && !task.blocked,
        Shown::Blocked => pending && task.blocked,
        Shown::InProgress => task.state == TaskState::InProgress,
        Shown::Completed => task.state == TaskState::Completed,
        Shown::Failed => task.state == TaskState::Failed,
        Shown::Cancelled => task.state == TaskState::Cancelled,
    }
}

/// Every task, by number.
pub(super) async fn whole_board(seat: &Seat) -> Result<Vec<TaskView>, ToolError> {
    let mut tasks = Vec::new();
    let mut wanted = Some(ListTasks::default());
    while let Some(list) = wanted {
        let page = seat.call::<TaskList>(list).await?;
        wanted = page.next();
        tasks.extend(page.tasks);
    }
    Ok(tasks)
}

fn overlaps(answer: &TaskAnswer) -> String {
    if answer.overlaps.is_empty() {
        return String::new();
    }
    format!(
        " {} in progress means to change the same files: agree with its owner who changes what.",
        ids(&answer.overlaps)
    )
}

/// The tasks that are neither finished nor cancelled.
pub(super) async fn open_tasks(seat: &Seat) -> Result<Vec<TaskView>, ToolError> {
    let mut board = whole_board(seat).await?;
    board.retain(is_open);
    Ok(board)
}
