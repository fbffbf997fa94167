//! `task wait`: waits until a task has ended and prints its result.

use std::process::ExitCode;

use agent_team_client::{Notice, Session, Subscription};
use agent_team_protocol::TaskId;
use agent_team_protocol::event::ClientEvent;
use agent_team_protocol::method::{Nothing, OneTask, TaskShow, TeamShow};
use agent_team_protocol::notification::EventNotice;
use agent_team_protocol::view::{TaskState, TaskView};

use crate::error::Failure;
use crate::output::{Output, task as render, text};
use crate::verb::waiting::within;

/// Exits with 0 when the task completed, and with 1 when it failed, was cancelled, or the timeout has passed.
pub(super) async fn run(
    mut session: Session,
    output: Output,
    task: TaskId,
    timeout: Option<u64>,
) -> Result<ExitCode, Failure> {
    // Subscribe from a revision before the first read: otherwise the end of the task could be missed.
    let head = session.query::<TeamShow>(Nothing {}).await?.revision;
    let mut events = Subscription::new(session.separate(), head, false).await?;
    let ended = async {
        loop {
            let view = session.query::<TaskShow>(OneTask { task }).await?;
            if has_ended(&view) {
                return Ok(view);
            }
            while !may_concern(&events.next().await?, task) {}
        }
    };
    let view = within(timeout, &format!("{task} to end"), ended).await?;
    output.show(&view, || text_of(&view))?;
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

/// Whether the event may have changed the task.
fn may_concern(notice: &Notice, task: TaskId) -> bool {
    let Notice::Event(EventNotice { event, .. }) = notice else {
        return false;
    };
    event.task() == Some(task) || matches!(event, ClientEvent::Unknown)
}

fn text_of(task: &TaskView) -> String {
    let mut text = render::line(task) + "\n";
    if let (TaskState::Completed, Some(result)) = (task.state, &task.result) {
        text.push_str(&text::of_program(result));
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}
