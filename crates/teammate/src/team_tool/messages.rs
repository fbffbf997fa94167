//! `send_message` and `read_messages`.

use std::sync::Arc;

use agent_team_protocol::method::{ListMessages, MessageList, MessageSend, SendMessage};
use agent_team_protocol::view::{MessageState, MessageView};
use agent_team_protocol::{MessageId, Party, Recipient};
use schemars::JsonSchema;
use serde::Deserialize;

use super::lines::{answering, message_line, quoted};
use super::{Seat, changing};
use crate::tool::{Tool, ToolError};

/// Earlier messages that are shown unless more are asked for, and at most.
const EARLIER: u32 = 20;
const EARLIER_MAX: u32 = 200;

pub(super) fn tools(seat: &Arc<Seat>) -> [Box<dyn Tool>; 2] {
    [
        changing(
            seat,
            "send_message",
            "Sends a message to one member, to the lead, to everybody or to the user. It is in the inbox when this \
             returns, and is read at the recipient's next step. Say what the other needs to know or do. A message to \
             the user is shown as a question until the user has read it.",
            send,
        ),
        changing(
            seat,
            "read_messages",
            "Your unread messages; reading them acknowledges them. Messages also come in by themselves at your next \
             step, so this is rarely needed.",
            read,
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Send {
    /// A member's name, `lead`, `all` (everybody but you) or `user` (the person).
    #[schemars(with = "String")]
    to: Recipient,
    /// At most 64 KiB.
    text: String,
    /// Interrupts what the recipient is doing now; only for what cannot wait for its next step.
    #[serde(default)]
    urgent: bool,
    /// The message that this answers, such as M-7. Required when its sender waits for your reply.
    #[schemars(with = "Option<String>")]
    reply_to: Option<MessageId>,
    /// The text in a few words, for lists.
    summary: Option<String>,
}

async fn send(seat: Arc<Seat>, args: Send) -> Result<String, ToolError> {
    let reply_to = args.reply_to;
    let message = SendMessage {
        to: args.to,
        text: args.text,
        urgent: args.urgent,
        reply_to,
        summary: args.summary,
        wants_reply: false,
    };
    let sent = seat.call::<MessageSend>(message).await?;
    if sent.to.is_empty() {
        return Ok(format!("{}: there is nobody else in the team.", sent.id));
    }
    let names: Vec<_> = sent.to.iter().map(ToString::to_string).collect();
    let mut told = format!("{} is in the inbox of {}.", sent.id, names.join(", "));
    if let Some(unanswered) = seat.shared.arrivals.sent(&sent.to, reply_to) {
        told.push_str(&format!(
            " It is not the reply to {unanswered}, whose sender still waits: send the reply with reply_to {unanswered}."
        ));
    }
    Ok(told)
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Read {
    /// Also earlier messages, from and to you, read or not; nothing is acknowledged by that.
    #[serde(default)]
    all: bool,
    /// With `all`: the newest so many, 20 unless given, at most 200.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
}

async fn read(seat: Arc<Seat>, args: Read) -> Result<String, ToolError> {
    if args.all {
        return earlier(&seat, args.limit.unwrap_or(EARLIER)).await;
    }
    if args.limit.is_some() {
        let text = "`limit` goes with `all`: unread messages are always shown whole";
        return Err(ToolError::Input(text.to_owned()));
    }
    let unread = seat.shared.arrivals.show();
    if unread.is_empty() {
        return Ok("No unread messages.".to_owned());
    }
    let texts: Vec<_> = unread.iter().map(message_line).collect();
    Ok(texts.join("\n\n"))
}

async fn earlier(seat: &Seat, limit: u32) -> Result<String, ToolError> {
    if !(1..=EARLIER_MAX).contains(&limit) {
        let text = format!("`limit` is from 1 to {EARLIER_MAX}");
        return Err(ToolError::Input(text));
    }
    let of = Some(Party::Member(seat.desk.member.clone()));
    let list = seat.call::<MessageList>(ListMessages { of, limit }).await?;
    if list.messages.is_empty() {
        return Ok("No messages.".to_owned());
    }
    let texts: Vec<_> = list.messages.iter().map(earlier_message).collect();
    Ok(texts.join("\n\n"))
}

fn earlier_message(message: &MessageView) -> String {
    let state = match message.state {
        MessageState::Read => "",
        MessageState::Accepted | MessageState::Delivered | MessageState::Unknown => ", unread",
    };
    format!(
        "Message {} from {} to {}{}{state}:\n{}",
        message.id,
        message.from,
        message.to,
        answering(message.reply_to),
        quoted(&message.text)
    )
}
