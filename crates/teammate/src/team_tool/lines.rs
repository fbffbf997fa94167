//! Tasks, members and messages as lines that a model reads. What others wrote stands on one line, or below its own
//! heading: a title cannot pass for another entry.

use std::fmt::Write;

use agent_team_protocol::notification::DeliveredMessage;
use agent_team_protocol::text::visible_label;
use agent_team_protocol::view::{MemberState, MemberView, TaskState, TaskView};
use agent_team_protocol::{MemberName, MessageId, TaskId};

/// Columns of a title, and of a result or a report, in a line.
const TITLE: usize = 160;
const RESULT: usize = 240;

/// Bytes of the note in place of what was cut out, at most.
const CUT_NOTE_MAX: usize = 64;

/// `T-3 in_progress by ada: Add validation; after T-1`.
pub(super) fn task_line(task: &TaskView) -> String {
    let mut line = format!("{} {}", task.id, state_word(task));
    if let Some(owner) = &task.owner {
        put(&mut line, format_args!(" by {owner}"));
    }
    put(
        &mut line,
        format_args!(": {}", visible_label(&task.title, TITLE)),
    );
    if task.priority != 0 {
        put(&mut line, format_args!("; priority {}", task.priority));
    }
    if let Some(member) = &task.assignee {
        put(&mut line, format_args!("; for {member}"));
    }
    if let Some(role) = &task.role {
        put(&mut line, format_args!("; for the role {role}"));
    }
    if task.state == TaskState::Pending && !task.after.is_empty() {
        put(&mut line, format_args!("; after {}", ids(&task.after)));
    }
    if !task.files.is_empty() && is_open(task) {
        let files = visible_label(&task.files.join(" "), TITLE);
        put(&mut line, format_args!("; files {files}"));
    }
    if let Some(result) = &task.result {
        put(
            &mut line,
            format_args!("; {}: {}", result_word(task), visible_label(result, RESULT)),
        );
    }
    line
}

/// A task with everything that whoever does it needs.
pub(super) fn task_sheet(task: &TaskView) -> String {
    let mut sheet = task_line(task);
    if !task.labels.is_empty() {
        put(
            &mut sheet,
            format_args!(
                "\nLabels: {}",
                visible_label(&task.labels.join(", "), TITLE)
            ),
        );
    }
    if !task.blocks.is_empty() {
        put(
            &mut sheet,
            format_args!("\nWaiting for it: {}", ids(&task.blocks)),
        );
    }
    if let Some(metadata) = &task.metadata {
        let text = serde_json::to_string(metadata).unwrap_or_default();
        put(&mut sheet, format_args!("\nMetadata: {text}"));
    }
    if let Some(verify) = &task.verify {
        put(
            &mut sheet,
            format_args!("\nBefore it counts as completed this must exit 0: {verify}"),
        );
    }
    if !task.description.is_empty() {
        put(
            &mut sheet,
            format_args!("\nDescription:\n{}", task.description),
        );
    }
    sheet
}

/// `bob (worker): idle, for 4 s; last report: Added the tests`.
pub(super) fn member_line(member: &MemberView, me: &MemberName) -> String {
    let role = match member.lead {
        true => "lead".to_owned(),
        false => member.role.to_string(),
    };
    let you = if member.name == *me { ", you" } else { "" };
    let mut line = format!(
        "{} ({role}{you}): {}",
        member.name,
        member_word(member.state)
    );
    if let Some(task) = member.task {
        put(&mut line, format_args!(" on {task}"));
    }
    put(
        &mut line,
        format_args!("; {}", visible_label(&member.why, TITLE)),
    );
    if member.unread > 0 {
        put(
            &mut line,
            format_args!("; {} unread messages", member.unread),
        );
    }
    if let Some(report) = &member.last_result {
        put(
            &mut line,
            format_args!("; last report: {}", visible_label(report, RESULT)),
        );
    }
    line
}

/// A message as the model is shown it, also by the loop.
pub fn message_line(message: &DeliveredMessage) -> String {
    let urgent = if message.urgent { ", urgent" } else { "" };
    let again = if message.redelivered {
        ", delivered again"
    } else {
        ""
    };
    let summary = message.summary.as_deref();
    let summary = summary.map(|summary| format!(" ({})", visible_label(summary, TITLE)));
    let mut line = format!(
        "Message {} from {}{}{urgent}{again}{}:\n{}",
        message.id,
        message.from,
        answering(message.reply_to),
        summary.unwrap_or_default(),
        quoted(&message.text)
    );
    if message.wants_reply {
        put(
            &mut line,
            format_args!(
                "\nThe sender waits for your reply: call send_message with to {} and reply_to {}. No other message counts \
                 as the reply.",
                message.from, message.id
            ),
        );
    }
    line
}

/// `, in reply to M-3`.
pub(super) fn answering(message: Option<MessageId>) -> String {
    message.map_or_else(String::new, |message| format!(", in reply to {message}"))
}

/// What somebody else wrote, marked line by line: nothing in it can pass for the heading of another message, or for the
/// runtime's own words.
pub(super) fn quoted(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("> {line}")).collect();
    lines.join("\n")
}

pub(super) fn ids(tasks: &[TaskId]) -> String {
    let ids: Vec<_> = tasks.iter().map(ToString::to_string).collect();
    ids.join(", ")
}

pub(super) fn is_open(task: &TaskView) -> bool {
    matches!(task.state, TaskState::Pending | TaskState::InProgress)
}

pub(super) fn state_word(task: &TaskView) -> &'static str {
    match task.state {
        TaskState::Pending if task.blocked => "blocked",
        TaskState::Pending => "ready",
        TaskState::InProgress => "in_progress",
        TaskState::Completed => "completed",
        TaskState::Failed => "failed",
        TaskState::Cancelled => "cancelled",
        TaskState::Unknown => "in a state that this build does not know",
    }
}

pub(super) fn member_word(state: MemberState) -> &'static str {
    match state {
        MemberState::Planned => "not started yet",
        MemberState::Launching => "starting",
        MemberState::Idle => "idle",
        MemberState::Working => "working",
        MemberState::Waiting => "waiting",
        MemberState::Unresponsive => "unresponsive",
        MemberState::Draining => "ending",
        MemberState::Cooling => "restarting soon",
        MemberState::Held => "held",
        MemberState::Stopped => "stopped",
        MemberState::Unknown => "in a state that this build does not know",
    }
}

fn result_word(task: &TaskView) -> &'static str {
    match task.state {
        TaskState::Completed => "result",
        TaskState::Failed => "reason",
        TaskState::Pending | TaskState::InProgress | TaskState::Cancelled | TaskState::Unknown => {
            "note"
        }
    }
}

fn put(line: &mut String, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("a string takes everything");
}

/// A text of at most so many bytes: the middle of a longer one is cut out.
pub(super) fn within(text: String, max: usize) -> String {
    if text.len() <= max {
        return text;
    }
    let half = max.saturating_sub(CUT_NOTE_MAX) / 2;
    let head = &text[..text.floor_char_boundary(half)];
    let tail = &text[text.ceil_char_boundary(text.len() - half)..];
    let cut = text.len() - head.len() - tail.len();
    format!("{head}\n… {cut} bytes are cut out here …\n{tail}")
}
