//! Text for tasks: one line, the table, all details, counts. Called by the verbs and by `top`.

use agent_team_protocol::TaskId;
use agent_team_protocol::status::Status;
use agent_team_protocol::text::age;
use agent_team_protocol::value::result_line;
use agent_team_protocol::view::{MemberView, TaskCounts, TaskState, TaskView};

use super::style::paint;
use super::table::{Cell, Column, Table, elastic, fixed};
use super::{columns, style, text, time};

/// The sign and the name of a task's state.
pub(crate) fn state(task: &TaskView) -> (&'static str, &'static str) {
    match task.state {
        TaskState::Pending if task.blocked => ("◌", "blocked"),
        TaskState::Pending => ("○", "pending"),
        TaskState::InProgress => (Status::Working.sign(), "in progress"),
        TaskState::Completed => (Status::Success.sign(), "completed"),
        TaskState::Failed => (Status::Failure.sign(), "failed"),
        TaskState::Cancelled => ("–", "cancelled"),
        TaskState::Unknown => ("?", "unknown"),
    }
}

/// `✓ T-3 Run the tests`, in the colour of the state; a failed task with its reason.
pub(crate) fn line(task: &TaskView) -> String {
    let (sign, _) = state(task);
    let title = text::line(&task.title);
    let mut line = paint(style::task(task), format!("{sign} {} {title}", task.id));
    if task.state == TaskState::Failed && task.result.is_some() {
        line.push_str(&format!(": {}", text::line(key_line(task))));
    }
    line
}

pub(crate) fn key_line(task: &TaskView) -> &str {
    let result = task.result.as_deref().unwrap_or_default();
    result_line(task.state == TaskState::Completed, result)
}

fn ids(ids: &[TaskId]) -> String {
    ids.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

pub(crate) fn table(tasks: &[TaskView]) -> String {
    const COLUMNS: &[Column] = &[
        fixed("ID"),
        fixed("STATE"),
        elastic("TITLE"),
        fixed("OWNER"),
        elastic("AFTER"),
        elastic("RESULT"),
    ];
    let mut table = Table::new(COLUMNS);
    for task in tasks {
        let (sign, word) = state(task);
        table.row([
            Cell::new(task.id.to_string()),
            Cell::styled(format!("{sign} {word}"), style::task(task)),
            Cell::new(&task.title),
            Cell::new(
                task.owner
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            ),
            Cell::new(ids(&task.after)),
            Cell::new(key_line(task)),
        ]);
    }
    table.render(columns())
}

pub(crate) fn details(task: &TaskView) -> String {
    let (sign, word) = state(task);
    let owner = task
        .owner
        .as_ref()
        .map(|owner| format!(" by {owner}"))
        .unwrap_or_default();
    let state = paint(style::task(task), format!("{sign} {word}{owner}"));
    let mut text = format!("{} {}\n", task.id, text::line(&task.title));
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<12} {value}\n"));
        }
    };
    let optional = |value: &Option<String>| value.as_deref().map(text::line).unwrap_or_default();
    field(
        "state",
        format!(
            "{state}, for {}",
            age(agent_team_system::clock::wall_ms().saturating_sub(task.changed_at))
        ),
    );
    if task.key != task.title {
        field("key", text::line(&task.key));
    }
    field("description", text::line(&task.description));
    if task.priority != 0 {
        field("priority", task.priority.to_string());
    }
    field("labels", text::line(&task.labels.join(" ")));
    field("after", ids(&task.after));
    field("blocks", ids(&task.blocks));
    field(
        "role",
        task.role
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    );
    field(
        "for",
        task.assignee
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    );
    field("files", text::line(&task.files.join(" ")));
    field("active form", optional(&task.active_form));
    let metadata = task.metadata.as_ref();
    let metadata = metadata.map(|object| serde_json::to_string(object).unwrap_or_default());
    field("metadata", optional(&metadata));
    field("run", optional(&task.run));
    field("verify", optional(&task.verify));
    if !task.rerun {
        field(
            "rerun",
            "no: the command does not run again after a crash".into(),
        );
    }
    field("attempts", task.attempts.to_string());
    field(
        "created by",
        format!("{}, {}", task.created_by, time::ago(task.created_at)),
    );
    if let Some(result) = &task.result {
        let result = agent_team_protocol::text::visible(result.trim_end());
        field("result", result.replace('\n', "\n               "));
    }
    text
}

/// The unfinished dependencies of a blocked task. If a dependency has failed or was cancelled, adds the commands that
/// unblock the task.
pub(crate) fn blocked_by(id: TaskId, blockers: &[TaskView]) -> String {
    let mut text = String::new();
    let name = |first: bool| if first { "blocked by" } else { "" };
    for (index, task) in blockers.iter().enumerate() {
        let (_, word) = state(task);
        let title = text::line(&task.title);
        text.push_str(&format!(
            "  {:<12} {} {title}: {word}\n",
            name(index == 0),
            task.id
        ));
    }
    if let Some(stuck) = blockers.iter().find(|task| is_stuck(task)) {
        text.push_str(&format!("  {:<12} {}\n", "", unblock_commands(id, stuck)));
    }
    text
}

/// Whether the task completes only after the user or the lead intervenes.
fn is_stuck(task: &TaskView) -> bool {
    matches!(task.state, TaskState::Failed | TaskState::Cancelled)
}

/// The reason why no member of the team can claim a pending task, with the command that resolves it. `None` if a member
/// can claim the task, or if the task is not pending.
pub(crate) fn unclaimable(task: &TaskView, members: &[MemberView]) -> Option<String> {
    if task.state != TaskState::Pending {
        return None;
    }
    let may_claim = |member: &&MemberView| match (&task.assignee, &task.role) {
        (Some(assignee), _) => member.name == *assignee,
        (None, Some(role)) => member.role == *role,
        (None, None) => true,
    };
    let takes_tasks = |member: &&MemberView| !member.engine.shows_program();
    let may_claim = members.iter().filter(may_claim).filter(takes_tasks);
    let mut may_claim = may_claim.peekable();
    let id = task.id;
    if let (None, Some(assignee)) = (may_claim.peek(), &task.assignee) {
        let is_member = members.iter().any(|member| member.name == *assignee);
        let why = if is_member {
            "takes no tasks"
        } else {
            "is not in the team"
        };
        return Some(format!(
            "no member can claim {id}, because {assignee} {why}: \
             agent-team task assign {id} MEMBER"
        ));
    }
    match (may_claim.peek(), &task.role) {
        (None, Some(role)) => Some(format!(
            "no member can claim {id}, because none has the role {role}: agent-team spawn {role}"
        )),
        (None, None) => None,
        (Some(_), _) if task.run.is_some() => None,
        (Some(_), _) => may_claim.all(|member| member.engine.runs_lines()).then(|| {
            format!(
                "no member can claim {id}, because it has no command to run: \
                 agent-team task update {id} --run LINE"
            )
        }),
    }
}

fn unblock_commands(id: TaskId, stuck: &TaskView) -> String {
    format!(
        "agent-team task retry {}, or agent-team task update {id} --clear after",
        stuck.id
    )
}

/// One line for each pending task that waits for a failed or cancelled task, with the commands that unblock it.
pub(crate) fn stuck(board: &[TaskView]) -> Vec<String> {
    let pending = board
        .iter()
        .filter(|task| task.state == TaskState::Pending && task.blocked);
    let lines = pending.filter_map(|task| {
        let after = |other: &&TaskView| task.after.contains(&other.id) && is_stuck(other);
        let stuck = board.iter().find(after)?;
        let (_, word) = state(stuck);
        Some(format!(
            "{} waits for {}, which is {word}: {}",
            task.id,
            stuck.id,
            unblock_commands(task.id, stuck)
        ))
    });
    lines.collect()
}

/// The reason why a task waits, or its outcome. `board`: finds the tasks before it.
pub(crate) fn why<'a>(
    task: &TaskView,
    board: impl Fn(TaskId) -> Option<&'a TaskView>,
    members: &[MemberView],
) -> String {
    let id = task.id;
    let owner = task.owner.as_ref();
    let owner = owner.map_or("no member".to_owned(), ToString::to_string);
    match task.state {
        TaskState::InProgress => {
            let mut working = members.iter().filter(|it| it.task == Some(id));
            let why = working
                .next()
                .map(|it| format!(": {}", text::line(&it.why)));
            format!("{id} is in progress by {owner}{}", why.unwrap_or_default())
        }
        TaskState::Pending => waits_for(task, board)
            .or_else(|| unclaimable(task, members))
            .unwrap_or_else(|| {
                let names = claimants(task, members);
                match names.is_empty() {
                    true => {
                        format!("{id} is ready, and waits for a member that is free to claim it")
                    }
                    false => format!(
                        "{id} is ready, and waits until one of these members is free: {}",
                        names.join(", ")
                    ),
                }
            }),
        TaskState::Completed => format!("{id} was completed by {owner}"),
        TaskState::Failed => format!("{id} has failed: {}", text::line(key_line(task))),
        TaskState::Cancelled => format!("{id} was cancelled"),
        TaskState::Unknown => format!("the state of {id} is unknown to this version"),
    }
}

/// The members that claim the ready task as soon as they are free, such as `ada (T-1)`, with their present task.
fn claimants(task: &TaskView, members: &[MemberView]) -> Vec<String> {
    let may_claim = |member: &&MemberView| match (&task.assignee, &task.role) {
        (Some(assignee), _) => member.name == *assignee,
        (None, Some(role)) => member.role == *role,
        // A lead that is an agent claims only tasks that are assigned to it.
        (None, None) => !member.lead || member.engine.runs_lines(),
    };
    let can_do = |member: &&MemberView| {
        !member.engine.shows_program() && (task.run.is_some() || !member.engine.runs_lines())
    };
    let names = members.iter().filter(may_claim).filter(can_do);
    let names = names.map(|member| match member.task {
        Some(task) => format!("{} ({task})", member.name),
        None => member.name.to_string(),
    });
    names.collect()
}

/// The tasks for which a pending task waits, with the commands that unblock it if one of them has failed or was
/// cancelled. `None`: no task before it is open.
fn waits_for<'a>(
    task: &TaskView,
    board: impl Fn(TaskId) -> Option<&'a TaskView>,
) -> Option<String> {
    let before = task.after.iter().filter_map(|id| board(*id));
    let open = before.filter(|it| it.state != TaskState::Completed);
    let mut involved: Vec<TaskView> = open.cloned().collect();
    if involved.is_empty() {
        return None;
    }
    let words = involved.iter().map(|it| {
        let owner = it.owner.as_ref().map(|owner| format!(", {owner}"));
        format!("{} ({}{})", it.id, state(it).1, owner.unwrap_or_default())
    });
    let words: Vec<_> = words.collect();
    let mut why = format!("{} waits for {}", task.id, words.join(" and "));
    involved.push(task.clone());
    let of_task = format!("{} ", task.id);
    for line in stuck(&involved) {
        if line.starts_with(&of_task) {
            why.push('\n');
            why.push_str(&line);
        }
    }
    Some(why)
}

/// `3 completed, 1 failed`, without zero counts.
pub(crate) fn counts(counts: TaskCounts) -> String {
    let TaskCounts {
        pending,
        in_progress,
        completed,
        failed,
        cancelled,
    } = counts;
    let counts = [
        (completed, "completed"),
        (failed, "failed"),
        (in_progress, "in progress"),
        (pending, "pending"),
        (cancelled, "cancelled"),
    ];
    let present = counts.iter().filter(|(number, _)| *number > 0);
    let texts: Vec<_> = present
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    if texts.is_empty() {
        "no tasks".into()
    } else {
        texts.join(", ")
    }
}

pub(crate) fn count(tasks: &[TaskView]) -> TaskCounts {
    let number_of = |state| tasks.iter().filter(|task| task.state == state).count() as u64;
    TaskCounts {
        pending: number_of(TaskState::Pending),
        in_progress: number_of(TaskState::InProgress),
        completed: number_of(TaskState::Completed),
        failed: number_of(TaskState::Failed),
        cancelled: number_of(TaskState::Cancelled),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_task_for_an_absent_member_is_unclaimable() {
        let task = json!({
            "id": "T-1", "key": "Build", "title": "Build", "description": "", "state": "pending",
            "owner": null, "generation": 1, "role": null, "for": "bob", "after": [], "blocks": [],
            "blocked": false, "priority": 0, "labels": [], "files": [], "run": null, "verify": null,
            "rerun": true, "attempts": 0, "created_by": "user", "created_at": 0, "changed_at": 0,
            "revision": 1, "result": null,
        });
        let task: TaskView = serde_json::from_value(task).unwrap();
        let why = unclaimable(&task, &[]).unwrap();
        assert!(why.contains("bob is not in the team"), "{why}");
        assert!(why.ends_with("agent-team task assign T-1 MEMBER"), "{why}");
    }

    #[test]
    fn a_ready_task_names_the_members_that_can_claim_it() {
        let task = json!({
            "id": "T-1", "key": "Build", "title": "Build", "description": "", "state": "pending",
            "owner": null, "generation": 1, "role": null, "for": null, "after": [], "blocks": [],
            "blocked": false, "priority": 0, "labels": [], "files": [], "run": null, "verify": null,
            "rerun": true, "attempts": 0, "created_by": "user", "created_at": 0, "changed_at": 0,
            "revision": 1, "result": null,
        });
        let task: TaskView = serde_json::from_value(task).unwrap();
        let member = |name: &str, lead: bool, engine: &str, task: Option<&str>| {
            let member = json!({
                "name": name, "role": "worker", "lead": lead, "engine": engine, "model": null,
                "colour": "blue", "placement": "headless", "state": "working", "for_ms": 0,
                "waiting": null, "why": "", "pid": null, "launch": null, "task": task, "pane": null,
                "lost_pane": false, "disconnected": false, "unread": 0, "requests": 0, "restarts": 0,
                "last_result": null,
            });
            serde_json::from_value::<MemberView>(member).unwrap()
        };
        let members = [
            member("lead", true, "native", None),
            member("ada", false, "native", Some("T-2")),
            member("ben", false, "command", None),
        ];
        let why = why(&task, |_| None, &members);
        assert!(
            why.ends_with("until one of these members is free: ada (T-2)"),
            "{why}"
        );
    }
}
