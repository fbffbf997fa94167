//! `messages`: lists the newest messages, oldest first. Marks the listed messages to the user as read, unless `--peek`
//! is given.

use std::process::ExitCode;

use agent_team_client::{Session, SessionError};
use agent_team_protocol::method::{ListMessages, MessageList, MessageRead, ReadMessages};
use agent_team_protocol::text::{visible, visible_line};
use agent_team_protocol::view::{MessageState, MessageView};
use agent_team_protocol::{ErrorCode, MemberName, MessageId, Party};
use agent_team_terminal_ui::style::Style;
use serde::Serialize;

use crate::args::Global;
use crate::error::Failure;
use crate::output::style::paint;
use crate::output::{Output, time};

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

pub(super) fn text(message: &MessageView) -> String {
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
    let text = visible(message.text.trim_end()).replace('\n', "\n  ");
    format!(
        "{}  {}, {state}{urgent}{answering}\n  {text}\n",
        paint(Style::BOLD, &head),
        time::ago(message.at)
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
}
