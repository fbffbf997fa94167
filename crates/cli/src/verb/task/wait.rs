//! `task wait`: waits until a task has ended.

use std::process::ExitCode;

use agent_team_protocol::TaskId;
use agent_team_protocol::method::{Nothing, OneTask, TaskShow, TeamShow};
use agent_team_protocol::view::{TaskState, TaskView};
use serde_json::Value;

use super::shown;
use crate::error::Failure;
use crate::output::{Output, text};
use crate::session::{Notice, Session, Subscription};
use crate::verb::within;

/// Exits with 0 when the task is completed, and with 1 when it failed, was cancelled, or the time is up.
pub(super) async fn run(
    mut session: Session,
    output: Output,
    task: TaskId,
    timeout: Option<u64>,
) -> Result<ExitCode, Failure> {
    // Subscribed before the first look, so that no end is missed between the two.
    let head = session.ask::<TeamShow>(Nothing {}).await?.revision;
    let mut events = Subscription::new(session.another(), head, false).await?;
    let ended = async {
        loop {
            let view = session.ask::<TaskShow>(OneTask { task }).await?;
            if has_ended(&view) {
                return Ok(view);
            }
            while !is_about(&events.next().await?, task) {}
        }
    };
    let view = within(timeout, &format!("{task} to end"), ended).await?;
    output.show(&view, || told(&view))?;
    Ok(match view.state {
        TaskState::Completed => ExitCode::SUCCESS,
        TaskState::Pending
        | TaskState::InProgress
        | TaskState::Failed
        | TaskState::Cancelled
        | TaskState::Unknown => ExitCode::FAILURE,
    })
}

fn has_ended(task: &TaskView) -> bool {
    matches!(
        task.state,
        TaskState::Completed | TaskState::Failed | TaskState::Cancelled
    )
}

fn is_about(notice: &Notice, task: TaskId) -> bool {
    let Notice::Event(event) = notice else {
        return false;
    };
    let event: Value = serde_json::from_str(event.event.get()).unwrap_or_default();
    event["data"]["task"] == task.to_string()
}

fn told(task: &TaskView) -> String {
    let mut told = shown::line(task) + "\n";
    if let (TaskState::Completed, Some(result)) = (task.state, &task.result) {
        told.push_str(&text::of_program(result));
        if !told.ends_with('\n') {
            told.push('\n');
        }
    }
    told
}
