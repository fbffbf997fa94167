//! How a task comes onto the board. Its shell lines are carried out later and by somebody else, so they are asked about
//! before it is there.

use std::sync::Arc;

use agent_team_protocol::method::{AddTask, TaskAdd};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::{MemberName, RoleName};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::Seat;
use super::overlaps;
use crate::model::ToolSpec;
use crate::tool::{Bench, Output, Permission, Running, Tool, ToolError, arguments};

pub(super) fn tool(seat: &Arc<Seat>, permission: &Permission) -> Box<dyn Tool> {
    Box::new(CreateTask {
        spec: arguments::spec::<Create>(
            "create_task",
            "Puts a task on the board. Idle teammates take ready tasks by themselves; a task that waits for others is \
             ready when all of them are completed. Describe it so that somebody who has not seen your conversation can \
             do it and knows when it is done. The person is asked about `run` and `verify` before it is on the board.",
        ),
        seat: Arc::clone(seat),
        permission: permission.clone(),
    })
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Create {
    /// One line: what is to be done.
    title: String,
    /// What exactly, where, what must hold when it is done, how to check it.
    #[serde(default)]
    description: String,
    /// Higher first; 0 unless given.
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    labels: Vec<String>,
    /// Tasks that must be completed first, by id (T-3) or exact title.
    #[serde(default)]
    after: Vec<String>,
    /// Only members of this role may take it.
    #[schemars(with = "Option<String>")]
    role: Option<RoleName>,
    /// Only this member may take it.
    #[serde(rename = "for")]
    #[schemars(with = "Option<String>")]
    assignee: Option<MemberName>,
    /// Globs of the files that it may change. Tasks that run at the same time must not overlap.
    #[serde(default)]
    files: Vec<String>,
    /// A shell line that does it, for members that run commands and think nothing.
    run: Option<String>,
    /// A shell line that must exit 0 before the task counts as completed.
    verify: Option<String>,
    /// The work while it is in progress, such as "Adding the tests"; shown to the user.
    active_form: Option<String>,
    /// Data of your own, such as a ticket's number: a JSON object of at most 32 KiB.
    metadata: Option<Map<String, Value>>,
}

#[derive(Debug)]
struct CreateTask {
    spec: ToolSpec,
    seat: Arc<Seat>,
    permission: Permission,
}

impl Tool for CreateTask {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reads_only(&self) -> bool {
        false
    }

    fn run<'a>(
        &'a self,
        input: Value,
        bench: &'a Bench,
        shown: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Running<'a> {
        Box::pin(async move {
            let args: Create = arguments::parse(&self.spec, input)?;
            let mut permits = Vec::new();
            for line in args.run.iter().chain(&args.verify) {
                let asked = self
                    .permission
                    .ask_for_task_line(line, &bench.project, shown);
                permits.push(asked.await?);
            }
            Ok(Output {
                text: create(&self.seat, args).await?,
                diff: None,
            })
        })
    }
}

async fn create(seat: &Seat, args: Create) -> Result<String, ToolError> {
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
    let added = seat.call::<TaskAdd>(AddTask { spec }).await?;
    Ok(format!(
        "{} is on the board.{}",
        added.task,
        overlaps(&added)
    ))
}
