//! The tools that end a claim: complete, fail or release, each fenced by the claim's generation.

use std::sync::Arc;

use agent_team_protocol::method::{
    EndTask, Method, OneTask, TaskAnswer, TaskComplete, TaskFail, TaskRelease, TaskShow,
};
use agent_team_protocol::{ErrorCode, Generation, TaskId};
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::context::{TeamContext, refused};
use super::super::lines::ids;
use crate::tool::ToolError;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Complete {
    /// Such as T-3.
    #[schemars(with = "String")]
    task: TaskId,
    /// What was done and where, facts that other members need, how it was checked; at most 64 KiB.
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
    /// What the next owner should know: what is done already, and why you release it.
    #[serde(default)]
    note: String,
}

pub(super) async fn complete(
    team_context: Arc<TeamContext>,
    args: Complete,
) -> Result<String, ToolError> {
    let Complete { task, result } = args;
    if result.trim().is_empty() {
        return Err(ToolError::Input(format!(
            "{task} is not completed: the result is empty. State what was done and where, and how it was checked"
        )));
    }
    // Check ownership before the verify line runs: the line may run for a long time, and a former owner must not start
    // it.
    generation(&team_context, task).await?;
    let view = team_context.call::<TaskShow>(OneTask { task }).await?;
    if let Some(line) = &view.verify {
        let verified = team_context.shared.verify.verify(task, line).await;
        verified.map_err(|output| {
            let text = format!(
                "{task} is not completed: its check `{line}` failed. Fix the problem, then call complete_task again.\n{output}"
            );
            ToolError::Failed(text)
        })?;
    }
    end::<TaskComplete>(&team_context, task, result).await?;
    Ok(format!("{task} is completed."))
}

pub(super) async fn fail(team_context: Arc<TeamContext>, args: Fail) -> Result<String, ToolError> {
    end::<TaskFail>(&team_context, args.task, args.reason).await?;
    Ok(format!("{} is failed.", args.task))
}

pub(super) async fn release(
    team_context: Arc<TeamContext>,
    args: Release,
) -> Result<String, ToolError> {
    release_with(&team_context, args.task, args.note).await
}

pub(super) async fn release_with(
    team_context: &TeamContext,
    task: TaskId,
    note: String,
) -> Result<String, ToolError> {
    end::<TaskRelease>(team_context, task, note).await?;
    Ok(format!("{task} is back on the board."))
}

async fn end<M>(team_context: &TeamContext, task: TaskId, text: String) -> Result<(), ToolError>
where
    M: Method<Args = EndTask, Answer = TaskAnswer>,
{
    let generation = generation(team_context, task).await?;
    let end = EndTask {
        task,
        generation: Some(generation),
        text,
    };
    let ended = team_context.ask::<M>(end).await;
    let is_over = match &ended {
        Ok(_) => true,
        Err(refusal) => [ErrorCode::StaleClaim, ErrorCode::NotOwner].contains(&refusal.code),
    };
    if is_over {
        team_context.shared.claims.forget(task, generation);
    }
    ended.map(drop).map_err(|refusal| refused(&refusal))
}

/// The generation that ends the task: the generation of this member's claim, or, for the lead, of the current claim.
async fn generation(team_context: &TeamContext, task: TaskId) -> Result<Generation, ToolError> {
    if let Some(generation) = team_context.shared.claims.generation(task) {
        return Ok(generation);
    }
    if team_context.client.lead {
        let view = team_context.call::<TaskShow>(OneTask { task }).await?;
        return Ok(view.generation);
    }
    let owned = team_context.shared.claims.tasks();
    let owned = if owned.is_empty() {
        "You own no task.".to_owned()
    } else {
        format!("You own {}.", ids(&owned))
    };
    Err(ToolError::Failed(format!(
        "You do not own {task}. {owned} Call claim_task to claim a task, or list_tasks to see the owners."
    )))
}
