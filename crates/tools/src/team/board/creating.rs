//! The tool that creates a task. Another process runs the task's shell lines later, so permission for them is requested
//! before the task is on the board.

use std::sync::Arc;

use agent_team_protocol::method::{AddTask, TaskAdd};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::{MemberName, RoleName};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::context::TeamContext;
use super::queries::overlaps;
use crate::adapter::{Access, Call, tool};
use crate::permission::Permission;
use crate::tool::{Tool, ToolError};

pub(super) fn create_task(
    team_context: &Arc<TeamContext>,
    permission: &Permission,
) -> Box<dyn Tool> {
    tool(
        "create_task",
        "Put a task on the board. Idle teammates claim ready tasks by themselves; a task with dependencies is ready \
         when all of them are completed. Describe it so that a member that has not seen your conversation can do it \
         and knows when it is done. Before the task is created, the user may be asked about `run` and `verify`.",
        Access::Changes,
        (Arc::clone(team_context), permission.clone()),
        create,
    )
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Create {
    /// One line: what to do.
    title: String,
    /// State what to do, where, which conditions must hold when it is done, and how to check them.
    #[serde(default)]
    description: String,
    /// Higher first. Default: 0.
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    labels: Vec<String>,
    /// Tasks that must be completed first, by id (T-3) or exact title.
    #[serde(default)]
    after: Vec<String>,
    /// Only members of this role may claim it.
    #[schemars(with = "Option<String>")]
    role: Option<RoleName>,
    /// Only this member may claim it.
    #[serde(rename = "for")]
    #[schemars(with = "Option<String>")]
    assignee: Option<MemberName>,
    /// Globs of the files that it may change. Tasks that run at the same time must not overlap.
    #[serde(default)]
    files: Vec<String>,
    /// A shell line that does the task, for members with the command engine.
    run: Option<String>,
    /// A shell line that must exit 0 before the task counts as completed.
    verify: Option<String>,
    /// Text to show the user while the task is in progress, such as "Adding the tests".
    active_form: Option<String>,
    /// Your own data, such as a ticket number: a JSON object of at most 32 KiB.
    metadata: Option<Map<String, Value>>,
}

async fn create(
    (team_context, permission): &(Arc<TeamContext>, Permission),
    args: Create,
    call: Call<'_>,
) -> Result<String, ToolError> {
    let mut permits = Vec::new();
    for line in args.run.iter().chain(&args.verify) {
        let permit = permission.ask_for_task_line(line, &call.context.project, call.progress);
        permits.push(permit.await?);
    }
    let spec = TaskSpec {
        key: String::new(),
        title: args.title,
        description: args.description,
        priority: args.priority,
        labels: args.labels,
        after: args.after,
        role: args.role,
        assignee: args.assignee,
        files: args.files,
        run: args.run,
        verify: args.verify,
        rerun: true,
        active_form: args.active_form,
        metadata: args.metadata,
    };
    let added = team_context.call::<TaskAdd>(AddTask { spec }).await?;
    Ok(format!(
        "{} is on the board.{}",
        added.task,
        overlaps(&added)
    ))
}
