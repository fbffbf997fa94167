//! `task …`: reads and changes the task board.

mod wait;

use std::process::ExitCode;

use agent_team_client::Session;
use agent_team_protocol::document::BoardView;
use agent_team_protocol::method::{
    AddTask, AssignTask, ClaimTask, ClearField, EndTask, Nothing, OneTask, TaskAdd, TaskAnswer,
    TaskAssign, TaskCancel, TaskChanges, TaskClaim, TaskComplete, TaskFail, TaskRelease, TaskRetry,
    TaskShow, TaskUpdate, TeamShow, UpdateTask,
};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::TaskState;
use agent_team_protocol::{ErrorCode, TaskId};
use serde_json::{Map, Value};

use super::text_argument::text_or_stdin;
use crate::args::{Clear, Global, TaskCommand, TaskFields};
use crate::error::Failure;
use crate::output::{Output, graph, task as render};

pub(super) async fn run(
    global: &Global,
    output: Output,
    command: TaskCommand,
) -> Result<ExitCode, Failure> {
    let mut session = global.session()?;
    let may_be_unclaimable = matches!(
        command,
        TaskCommand::Add { .. } | TaskCommand::Update { .. }
    );
    let (answer, done) = match command {
        TaskCommand::List => return list(&mut session, output).await,
        TaskCommand::Show { task } => return show(&mut session, output, task).await,
        TaskCommand::Wait { task, timeout } => {
            return wait::run(session, output, task, timeout).await;
        }
        TaskCommand::Graph { dot } => return graph(&mut session, output, dot).await,
        TaskCommand::Add {
            title,
            key,
            assignee,
            fields,
        } => {
            let spec = TaskSpec {
                assignee,
                ..spec(title, key, fields)?
            };
            (session.call::<TaskAdd>(AddTask { spec }).await?, "added")
        }
        TaskCommand::Update {
            task,
            title,
            assignee,
            fields,
            mut clear,
            freed,
        } => {
            clear.extend(freed.fields());
            let changes = TaskChanges {
                assignee,
                ..changes(title, fields, &clear)?
            };
            (
                session
                    .call::<TaskUpdate>(UpdateTask { task, changes })
                    .await?,
                "is changed",
            )
        }
        TaskCommand::Claim { task } => (
            session.call::<TaskClaim>(ClaimTask { task }).await?,
            "is claimed by you",
        ),
        TaskCommand::Assign { task, member } => (
            session
                .call::<TaskAssign>(AssignTask { task, member })
                .await?,
            "is assigned",
        ),
        TaskCommand::Complete { task, result } => (
            session
                .call::<TaskComplete>(end_arguments(task, result)?)
                .await?,
            "is completed",
        ),
        TaskCommand::Fail { task, reason } => (
            session
                .call::<TaskFail>(end_arguments(task, reason)?)
                .await?,
            "has failed",
        ),
        TaskCommand::Release { task, note } => (
            session
                .call::<TaskRelease>(end_arguments(task, note)?)
                .await?,
            "is pending again",
        ),
        TaskCommand::Retry { task } => (
            session.call::<TaskRetry>(OneTask { task }).await?,
            "is pending again",
        ),
        TaskCommand::Cancel { task } => (
            session.call::<TaskCancel>(OneTask { task }).await?,
            "is cancelled",
        ),
    };
    changed(output, &answer, done)?;
    if may_be_unclaimable && !output.is_json() {
        let task = answer.task;
        let task = session.query::<TaskShow>(OneTask { task }).await;
        let team = session.query::<TeamShow>(Nothing {}).await;
        // The change is stored: a failure here must not make a script repeat the change.
        if let (Ok(task), Ok(team)) = (task, team)
            && let Some(why) = render::unclaimable(&task, &team.members)
        {
            output.note(&format!("note: {why}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn changed(output: Output, answer: &TaskAnswer, done: &str) -> Result<(), Failure> {
    output.show(answer, || format!("{} {done}\n", answer.task))?;
    if !answer.overlaps.is_empty() {
        let others: Vec<_> = answer.overlaps.iter().map(TaskId::to_string).collect();
        output.note(&format!(
            "note: tasks in progress that change the same files: {}",
            others.join(", ")
        ));
    }
    Ok(())
}

async fn list(session: &mut Session, output: Output) -> Result<ExitCode, Failure> {
    let document = BoardView {
        tasks: session.board().await?,
    };
    output.show(&document, || match document.tasks.as_slice() {
        [] => "no tasks\n".into(),
        tasks => render::table(tasks),
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn show(session: &mut Session, output: Output, task: TaskId) -> Result<ExitCode, Failure> {
    let task = session.query::<TaskShow>(OneTask { task }).await?;
    let mut blockers = Vec::new();
    if task.state == TaskState::Pending && task.blocked {
        for id in &task.after {
            let before = session.query::<TaskShow>(OneTask { task: *id }).await?;
            if before.state != TaskState::Completed {
                blockers.push(before);
            }
        }
    }
    output.show(&task, || {
        let mut text = render::details(&task);
        text.push_str(&render::blocked_by(task.id, &blockers));
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

/// With `--json` prints the tasks, whose `after` and `blocks` are the edges.
async fn graph(session: &mut Session, output: Output, dot: bool) -> Result<ExitCode, Failure> {
    let document = BoardView {
        tasks: session.board().await?,
    };
    output.show(&document, || {
        if dot {
            graph::dot(&document.tasks)
        } else {
            graph::tree(&document.tasks)
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The arguments of `complete`, `fail` and `release`. Without a generation, the call applies to any claim; only the
/// user may omit the generation.
fn end_arguments(task: TaskId, text: String) -> Result<EndTask, Failure> {
    Ok(EndTask {
        task,
        generation: None,
        text: text_or_stdin(text, ErrorCode::ResultTooLarge)?,
    })
}

fn spec(title: String, key: Option<String>, fields: TaskFields) -> Result<TaskSpec, Failure> {
    let TaskFields {
        description,
        priority,
        labels,
        after,
        role,
        files,
        run,
        verify,
        active_form,
        metadata,
        rerun,
    } = fields;
    Ok(TaskSpec {
        key: key.unwrap_or_else(|| title.clone()),
        title,
        description: description.unwrap_or_default(),
        priority: priority.unwrap_or(0),
        labels,
        after,
        role,
        assignee: None,
        files,
        run,
        verify,
        rerun: rerun.unwrap_or(true),
        active_form,
        metadata: metadata.as_deref().map(object).transpose()?,
    })
}

/// Parses the argument of `--metadata`.
fn object(typed: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(typed).map_err(|error| {
        Failure::usage("cannot read --metadata: it is not a JSON object")
            .because(&error)
            .hint("write it like --metadata '{\"ticket\": 17}'")
    })
}

fn changes(
    title: Option<String>,
    fields: TaskFields,
    clear: &[Clear],
) -> Result<TaskChanges, Failure> {
    let TaskFields {
        description,
        priority,
        labels,
        after,
        role,
        files,
        run,
        verify,
        active_form,
        metadata,
        rerun,
    } = fields;
    let list = |list: Vec<String>, field: Clear| {
        (!list.is_empty() || clear.contains(&field)).then_some(list)
    };
    let field = |clear: &Clear| match clear {
        Clear::Role => Some(ClearField::Role),
        Clear::For => Some(ClearField::For),
        Clear::Run => Some(ClearField::Run),
        Clear::Verify => Some(ClearField::Verify),
        Clear::After | Clear::Labels | Clear::Files => None,
    };
    Ok(TaskChanges {
        title,
        description,
        priority,
        labels: list(labels, Clear::Labels),
        after: list(after, Clear::After),
        role,
        files: list(files, Clear::Files),
        run,
        verify,
        rerun,
        active_form,
        metadata: metadata.as_deref().map(object).transpose()?,
        assignee: None,
        clear: clear.iter().filter_map(field).collect(),
    })
}
