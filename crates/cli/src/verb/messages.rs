//! `messages`: the newest messages, oldest first.

use std::process::ExitCode;

use agent_team_protocol::method::{ListMessages, MessageList};
use agent_team_protocol::text::visible;
use agent_team_protocol::view::{MessageState, MessageView};
use agent_team_protocol::{MemberName, Party};
use owo_colors::OwoColorize;
use serde::Serialize;

use crate::args::Global;
use crate::error::Failure;
use crate::output::{Output, time};
use crate::session::Session;

#[derive(Serialize)]
struct Document {
    messages: Vec<MessageView>,
}

pub(super) async fn run(
    global: &Global,
    output: Output,
    member: Option<MemberName>,
    limit: u32,
) -> Result<ExitCode, Failure> {
    let of = member
        .map(|name| name.as_str().parse::<Party>())
        .transpose();
    let of = of.map_err(|error| Failure::usage(error.to_string()))?;
    let answer = Session::of_team(global)?
        .ask::<MessageList>(ListMessages { of, limit })
        .await?;
    let document = Document {
        messages: answer.messages,
    };
    output.show(&document, || match document.messages.as_slice() {
        [] => "no messages\n".into(),
        messages => messages.iter().map(text).collect(),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn text(message: &MessageView) -> String {
    let state = match message.state {
        MessageState::Accepted => "not delivered yet",
        MessageState::Delivered => "delivered",
        MessageState::Read => "read",
        MessageState::Unknown => "unknown",
    };
    let urgent = if message.urgent { ", urgent" } else { "" };
    let answering = message.reply_to;
    let answering =
        answering.map_or_else(String::new, |answered| format!(", in reply to {answered}"));
    let head = format!("{} {} → {}", message.id, message.from, message.to);
    let text = visible(message.text.trim_end()).replace('\n', "\n  ");
    format!(
        "{}  {}, {state}{urgent}{answering}\n  {text}\n",
        head.bold(),
        time::ago(message.at)
    )
}
