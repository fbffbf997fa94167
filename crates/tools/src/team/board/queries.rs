//! Reads the board for the other team tools.

use agent_team_protocol::method::{TaskAnswer, TaskList, TaskListAnswer};
use agent_team_protocol::view::TaskView;

use super::super::context::TeamContext;
use super::super::lines::{ids, is_open};
use crate::tool::ToolError;

/// All tasks, in the order of their ids.
pub(crate) async fn whole_board(team_context: &TeamContext) -> Result<Vec<TaskView>, ToolError> {
    TaskListAnswer::read_all(|list| team_context.call::<TaskList>(list)).await
}

pub(super) fn overlaps(answer: &TaskAnswer) -> String {
    if answer.overlaps.is_empty() {
        return String::new();
    }
    format!(
        " {} in progress also changes these files: agree with its owner on who changes what.",
        ids(&answer.overlaps)
    )
}

pub(crate) async fn open_tasks(team_context: &TeamContext) -> Result<Vec<TaskView>, ToolError> {
    let mut board = whole_board(team_context).await?;
    board.retain(is_open);
    Ok(board)
}
