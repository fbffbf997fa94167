//! `messages`: lists the newest messages, oldest first. Marks the listed messages to the user as read, unless `--peek`
//! is given. A long message is shortened, and its last line names the command that prints the rest.

use std::process::ExitCode;

use agent_team_client::{Session, SessionError};
use agent_team_protocol::method::{ListMessages, MessageList, MessageRead, ReadMessages};
use agent_team_protocol::text::{visible, visible_line};
use agent_team_protocol::view::{MessageState, MessageView};
use agent_team_protocol::{ErrorCode, MemberName, MessageId, Party, TaskId};
use agent_team_terminal_ui::style::Style;
use serde::Serialize;

use crate::args::Global;
use crate::error::Failure;
use crate::output::style::paint;
use crate::output::{Output, text, time};

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Messages {
    #[cfg_attr(
        test,
        schemars(with = "Vec<crate::reference::json::Wire<MessageView>>")
    )]
    messages: Vec<MessageView>,
}

pub(super) async fn run(
    global: &Global,
    output: Output,
    member: Option<MemberName>,
    limit: u32,
    peek: bool,
    full: bool,
) -> Result<ExitCode, Failure> {
    let of = member
        .map(|name| name.as_str().parse::<Party>())
        .transpose();
    let of = of.map_err(|error| Failure::usage(error.to_string()))?;
    let mut session = global.session()?;
    let answer = session
        .query::<MessageList>(ListMessages { of, limit })
        .await?;
    let document = Messages {
        messages: answer.messages,
    };
    output.show(&document, || match document.messages.as_slice() {
        [] => "no messages\n".into(),
        messages if full => messages
            .iter()
            .map(|it| whole(it, &visible(&it.text)))
            .collect(),
        messages => messages.iter().map(text).collect(),
    })?;
    let unread = document.messages.iter().filter(is_unread_by_user);
    let messages: Vec<_> = unread.map(|message| message.id).collect();
    if !peek && !messages.is_empty() {
        // Mark the messages after printing: if printing fails, they stay unread.
        mark_read(&mut session, messages).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Marks messages to the user as read. A supervisor of the previous version stores no read state for the user and
/// refuses the call; the messages are already printed, so the command succeeds.
pub(super) async fn mark_read(
    session: &mut Session,
    messages: Vec<MessageId>,
) -> Result<(), Failure> {
    let marked = session.call::<MessageRead>(ReadMessages { messages }).await;
    Ok(accept_older_supervisor(marked.map(drop))?)
}

fn accept_older_supervisor(marked: Result<(), SessionError>) -> Result<(), SessionError> {
    match marked {
        Err(error) if error.has_code(ErrorCode::NotPermitted) => Ok(()),
        marked => marked,
    }
}

fn is_unread_by_user(message: &&MessageView) -> bool {
    message.to == Party::User && message.state != MessageState::Read
}

/// Maximum number of lines of a shortened message.
const LINES_MAX: usize = 10;

/// A message with at most [`LINES_MAX`] lines. A member's message to the user is not shortened until the user has read
/// it.
pub(super) fn text(message: &MessageView) -> String {
    let text = visible(message.text.trim_end());
    let is_answer = matches!(message.from, Party::Member(_)) && is_unread_by_user(&message);
    let more = text.lines().count().saturating_sub(LINES_MAX);
    if is_answer || more == 0 {
        return whole(message, &text);
    }
    let kept: Vec<&str> = text.lines().take(LINES_MAX).collect();
    let more = text::count(more as u64, "more line");
    let command = rest_command(message);
    whole(
        message,
        &format!("{}\n… {more}: {command}", kept.join("\n")),
    )
}

/// The command that prints all of a message. For a report about a task, the command prints the task.
fn rest_command(message: &MessageView) -> String {
    let first = message.text.split_whitespace().next().unwrap_or_default();
    match (&message.from, first.parse::<TaskId>()) {
        (Party::System, Ok(task)) => format!("agent-team task show {task}"),
        (Party::System, Err(_)) => format!("agent-team messages {} --full", message.to),
        (from, _) => format!("agent-team messages {from} --full"),
    }
}

fn whole(message: &MessageView, text: &str) -> String {
    let state = match message.state {
        _ if is_unread_by_user(&message) => "unread",
        MessageState::Accepted => "not delivered yet",
        MessageState::Delivered => "delivered",
        MessageState::Read => "read",
        MessageState::Unknown => "unknown",
    };
    let urgent = if message.urgent { ", urgent" } else { "" };
    let answering = message.reply_to;
    let answering =
        answering.map_or_else(String::new, |answered| format!(", in reply to {answered}"));
    let (from, to) = (message.from.shown(), message.to.shown());
    let mut head = format!("{} {from} → {to}", message.id);
    if let Some(summary) = &message.summary {
        head.push_str(&format!(": {}", visible_line(summary)));
    }
    format!(
        "{}  {}, {state}{urgent}{answering}\n  {}\n",
        paint(Style::BOLD, &head),
        time::ago(message.at),
        text.trim_end().replace('\n', "\n  ")
    )
}

#[cfg(test)]
mod tests {
    use agent_team_client::CallError;
    use agent_team_protocol::Refusal;

    use super::*;

    #[test]
    fn a_supervisor_that_stores_no_read_state_causes_no_error() {
        let refused = |code| {
            let refusal = CallError::Refused(Refusal::new(code, "no"));
            accept_older_supervisor(Err(refusal.into()))
        };
        assert!(refused(ErrorCode::NotPermitted).is_ok());
        assert!(refused(ErrorCode::UnknownMessage).is_err());
    }

    #[test]
    fn a_long_message_ends_with_the_command_for_the_rest() {
        let message = |from: &str, to: &str, state: &str, text: &str| {
            let message = serde_json::json!({
                "id": "M-4", "from": from, "to": to, "text": text, "state": state, "urgent": false, "at": 0,
            });
            super::text(&serde_json::from_value(message).expect("a message"))
        };
        let lines: Vec<String> = (1..=40).map(|line| format!("line {line}")).collect();
        let long = lines.join("\n");
        let report = message(
            "system",
            "lead",
            "read",
            &format!("T-4 Test failed: exit 1\n{long}"),
        );
        assert_eq!(report.lines().count(), 12);
        let rest = "\n  line 9\n  … 31 more lines: agent-team task show T-4\n";
        assert!(report.ends_with(rest), "{report}");
        let sent = message("ada", "ben", "read", &long);
        let rest = "\n  line 10\n  … 30 more lines: agent-team messages ada --full\n";
        assert!(sent.ends_with(rest), "{sent}");
        // An answer that the user reads now is complete, and so is a short message.
        assert!(message("ada", "user", "delivered", &long).ends_with("\n  line 40\n"));
        let ten = lines[..10].join("\n");
        assert!(message("ada", "ben", "read", &ten).ends_with("\n  line 10\n"));
    }
}
