//! How a claim ends: completed, failed or given back, always under the generation that is meant.

use std::sync::Arc;

use agent_team_protocol::method::{
    EndTask, Method, OneTask, TaskAnswer, TaskComplete, TaskFail, TaskRelease, TaskShow,
};
use agent_team_protocol::{ErrorCode, Generation, TaskId};
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::{Seat, refused};
use crate::tool::ToolError;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Complete {
    /// Such as T-3.
    #[schemars(with = "String")]
    task: TaskId,
    /// What was done and where, what others need to know, how it was checked; at most 64 KiB.
    result: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fail {
    /// Such as T-3.
    #[schemars(with = "String")]
    task: TaskId,
    /// Why it cannot be done, and what was tried.
    reason: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Release {
    /// Such as T-3.
    #[schemars(with = "String")]
    task: TaskId,
    /// What the next owner should know: what is done already, and why you give it back.
    #[serde(default)]
    note: String,
}

pub(super) async fn complete(seat: Arc<Seat>, args: Complete) -> Result<String, ToolError> {
    let Complete { task, result } = args;
    if result.trim().is_empty() {
        return Err(ToolError::Input(format!(
            "{task} is not completed: the result is empty. Say what was done and where, and how it was checked"
        )));
    }
    // Before the line runs: it may take long, and is nothing that a former owner should start.
    generation(&seat, task).await?;
    let view = seat.call::<TaskShow>(OneTask { task }).await?;
    if let Some(line) = &view.verify {
        let verified = seat.shared.verify.verify(task, line).await;
        verified.map_err(|output| {
            let text = format!(
                "{task} is not completed: its check `{line}` failed. Put that right, then complete it again.\n{output}"
            );
            ToolError::Failed(text)
        })?;
    }
    end::<TaskComplete>(&seat, task, result).await?;
    Ok(format!("{task} is completed."))
}

pub(super) async fn fail(seat: Arc<Seat>, args: Fail) -> Result<String, ToolError> {
    end::<TaskFail>(&seat, args.task, args.reason).await?;
    Ok(format!("{} has failed.", args.task))
}

pub(super) async fn release(seat: Arc<Seat>, args: Release) -> Result<String, ToolError> {
    release_with(&seat, args.task, args.note).await
}

pub(super) async fn release_with(
    seat: &Seat,
    task: TaskId,
    note: String,
) -> Result<String, ToolError> {
    end::<TaskRelease>(seat, task, note).await?;
    Ok(format!("{task} is back on the board."))
}

async fn end<M>(seat: &Seat, task: TaskId, text: String) -> Result<(), ToolError>
where
    M: Method<Args = EndTask, Answer = TaskAnswer>,
{
    let generation = generation(seat, task).await?;
    let end = EndTask {
        task,
        generation: Some(generation),
        text,
    };
    let ended = seat.ask::<M>(end).await;
    let is_over = match &ended {
        Ok(_) => true,
        Err(refusal) => [ErrorCode::StaleClaim, ErrorCode::NotOwner].contains(&refusal.code),
    };
    if is_over {
        seat.shared.claims.forget(task, generation);
    }
    ended.map(drop).map_err(|refusal| refused(&refusal))
}

/// The claim that is meant: this member's own, for the lead also that of whoever has the task.
async fn generation(seat: &Seat, task: TaskId) -> Result<Generation, ToolError> {
    if let Some(generation) = seat.shared.claims.generation(task) {
        return Ok(generation);
    }
    if seat.desk.lead {
        let view = seat.call::<TaskShow>(OneTask { task }).await?;
        return Ok(view.generation);
    }
    let held = seat.shared.claims.tasks();
    let held = if held.is_empty() {
        "You own no task.".to_owned()
    } else {
        format!("You own {}.", super::ids(&held))
    };
    Err(ToolError::Failed(format!(
        "You do not own {task}. {held} claim_task claims one; list_tasks says who has which."
    )))
}
