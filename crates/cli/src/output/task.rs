//! Text for tasks: one line, the table, all details, counts. Called by the verbs and by `top`.

use agent_team_protocol::TaskId;
use agent_team_protocol::spec::ClaimPolicy;
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

/// The reason why no member of the team claims a pending task, with the command that resolves it. `None` if a member
/// claims the task, if the task is not pending, or if no member can take tasks and the task names neither a member nor
/// a role.
pub(crate) fn unclaimable(task: &TaskView, members: &[MemberView]) -> Option<String> {
    if task.state != TaskState::Pending {
        return None;
    }
    let id = task.id;
    let fitting: Vec<_> = members.iter().filter(|it| fits(task, it)).collect();
    if fitting.is_empty() {
        return match (&task.assignee, &task.role) {
            (Some(assignee), _) => {
                let is_member = members.iter().any(|member| member.name == *assignee);
                let why = if is_member {
                    "takes no tasks"
                } else {
                    "is not in the team"
                };
                Some(format!(
                    "no member can claim {id}: it is for {assignee}, which {why}: \
                     agent-team task assign {id} MEMBER"
                ))
            }
            (None, Some(role)) => Some(format!(
                "no member can claim {id}: no member has the role {role}: agent-team spawn {role}"
            )),
            (None, None) => None,
        };
    }
    let mut able = fitting.iter().filter(|it| can_do(task, it)).peekable();
    let Some(first) = able.peek() else {
        return Some(format!(
            "no member can claim {id}: the task has no command to run: \
             agent-team task update {id} --run LINE"
        ));
    };
    let first = &first.name;
    let names: Vec<_> = able.by_ref().map(|it| it.name.to_string()).collect();
    let is_claimed = fitting.iter().any(|it| claims(task, it));
    (!is_claimed).then(|| {
        let why = match names.as_slice() {
            [name] => format!("{name} takes only tasks that are assigned to it"),
            names => format!(
                "these members take only tasks that are assigned to them: {}",
                names.join(", ")
            ),
        };
        format!("no member claims {id}: {why}: agent-team task assign {id} {first}")
    })
}

/// Whether the task's assignee or role lets the member take the task.
fn fits(task: &TaskView, member: &MemberView) -> bool {
    let is_wanted = match (&task.assignee, &task.role) {
        (Some(assignee), _) => member.name == *assignee,
        (None, Some(role)) => member.role == *role,
        (None, None) => true,
    };
    is_wanted && !member.engine.shows_program()
}

fn can_do(task: &TaskView, member: &MemberView) -> bool {
    task.run.is_some() || !member.engine.runs_lines()
}

/// Whether the member claims the task by itself once the member is free.
fn claims(task: &TaskView, member: &MemberView) -> bool {
    let by_itself = task.assignee.is_some() || member.claim == ClaimPolicy::Ready;
    fits(task, member) && can_do(task, member) && by_itself
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
        let word = match stuck.state {
            TaskState::Cancelled => "was cancelled",
            TaskState::Pending
            | TaskState::InProgress
            | TaskState::Completed
            | TaskState::Failed
            | TaskState::Unknown => "has failed",
        };
        Some(format!(
            "{} waits for {}, which {word}: {}",
            task.id,
            stuck.id,
            unblock_commands(task.id, stuck)
        ))
    });
    lines.collect()
}

/// The reason why a task waits, or its outcome. `board` finds the tasks that the task depends on.
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
            format!("{owner} works on {id}{}", why.unwrap_or_default())
        }
        TaskState::Pending => waits_for(task, board)
            .or_else(|| unclaimable(task, members))
            .unwrap_or_else(|| match claimants(task, members) {
                names if names.is_empty() => {
                    format!("{id} is ready, but no member of the team takes tasks")
                }
                names => format!(
                    "{id} is ready, and waits until one of these members is free: {}",
                    names.join(", ")
                ),
            }),
        TaskState::Completed => format!("{id} was completed by {owner}"),
        TaskState::Failed => format!("{id} has failed: {}", text::line(key_line(task))),
        TaskState::Cancelled => format!("{id} was cancelled"),
        TaskState::Unknown => format!("the state of {id} is unknown to this version"),
    }
}

/// The members that claim the ready task, such as `ada (T-1)`, with their present task.
fn claimants(task: &TaskView, members: &[MemberView]) -> Vec<String> {
    let names = members.iter().filter(|it| claims(task, it));
    let names = names.map(|member| match member.task {
        Some(task) => format!("{} ({task})", member.name),
        None => member.name.to_string(),
    });
    names.collect()
}

/// The tasks for which a pending task waits. If one of these tasks has failed or was cancelled, adds the commands that
/// unblock the pending task. `None`: all dependencies of the task are completed.
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
        assert!(
            why.contains("it is for bob, which is not in the team"),
            "{why}"
        );
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
        let member = |name: &str, claim: &str, engine: &str, task: Option<&str>| {
            let member = json!({
                "name": name, "role": "worker", "lead": name == "lead", "claim": claim, "engine": engine, "model": null,
                "colour": "blue", "placement": "headless", "state": "working", "for_ms": 0,
                "waiting": null, "why": "", "pid": null, "launch": null, "task": task, "pane": null,
                "lost_pane": false, "disconnected": false, "unread": 0, "requests": 0, "restarts": 0,
                "last_result": null,
            });
            serde_json::from_value::<MemberView>(member).unwrap()
        };
        let shown = |members: &[MemberView]| why(&task, |_| None, members);
        let ben = member("ben", "ready", "command", None);
        let ada = member("ada", "ready", "native", Some("T-2"));
        let lead = |claim: &str| member("lead", claim, "native", None);
        let both = shown(&[lead("ready"), ada.clone(), ben.clone()]);
        assert!(both.ends_with("members is free: lead, ada (T-2)"), "{both}");
        let ada = shown(&[lead("assigned"), ada, ben.clone()]);
        assert!(ada.ends_with("members is free: ada (T-2)"), "{ada}");
        let assigned = shown(&[lead("assigned"), ben]);
        assert!(
            assigned.ends_with("agent-team task assign T-1 lead"),
            "{assigned}"
        );
    }
}
