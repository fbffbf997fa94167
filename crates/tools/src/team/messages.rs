//! The tools `send_message` and `read_messages`. Called by the model of any member.

use std::sync::Arc;

use agent_team_protocol::method::{ListMessages, MessageList, MessageSend, SendMessage};
use agent_team_protocol::view::{MessageState, MessageView};
use agent_team_protocol::{MessageId, Party, Recipient};
use schemars::JsonSchema;
use serde::Deserialize;

use super::context::{TeamContext, changing};
use super::lines::{in_reply_to, message_line, quoted};
use crate::tool::{Tool, ToolError};

/// The default and the largest number of earlier messages.
const EARLIER: u32 = 20;
const EARLIER_MAX: u32 = 200;

pub(super) fn tools(team_context: &Arc<TeamContext>) -> [Box<dyn Tool>; 2] {
    [
        changing(
            team_context,
            "send_message",
            "Send a message to one member, the lead, all members or the user. It is in the inbox when this returns, \
             and is read at the recipient's next step. State what the recipient needs to know or do. If you need a reply, \
             call ask instead.",
            send,
        ),
        changing(
            team_context,
            "read_messages",
            "Read your unread messages; this acknowledges them. Messages also arrive automatically at your next step, \
             so this is rarely needed.",
            read,
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Send {
    /// A member's name, `lead`, `all` (all members but you) or `user`.
    #[schemars(with = "String")]
    to: Recipient,
    /// At most 64 KiB.
    text: String,
    /// Interrupt the recipient's current call. Only for messages that cannot wait for its next step.
    #[serde(default)]
    urgent: bool,
    /// The message that this answers, such as M-7. Required when its sender waits for your reply.
    #[schemars(with = "Option<String>")]
    reply_to: Option<MessageId>,
    /// The text in a few words, for lists.
    summary: Option<String>,
}

async fn send(team_context: Arc<TeamContext>, args: Send) -> Result<String, ToolError> {
    let reply_to = args.reply_to;
    let message = SendMessage {
        to: args.to,
        text: args.text,
        urgent: args.urgent,
        reply_to,
        summary: args.summary,
        wants_reply: false,
        attach_outside: false,
    };
    let sent = team_context.call::<MessageSend>(message).await?;
    if sent.to.is_empty() {
        return Ok(format!("{}: the team has no other member.", sent.id));
    }
    let names: Vec<_> = sent.to.iter().map(ToString::to_string).collect();
    let mut text = format!("{} is in the inbox of {}.", sent.id, names.join(", "));
    if let Some(turn) = sent.reaches_turn(args.urgent) {
        text.push_str(&format!(" It {turn}."));
    }
    if let Some(note) = sent.shown_not_delivered() {
        text.push_str(&format!(" It is {note}."));
    }
    if let Some(unanswered) = team_context.shared.arrivals.record_sent(&sent.to, reply_to) {
        text.push_str(&format!(
            " It does not count as the reply to {unanswered}, whose sender is still waiting: send the reply with reply_to {unanswered}."
        ));
    }
    Ok(text)
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Read {
    /// Include earlier messages from and to you, read or unread. This acknowledges nothing.
    #[serde(default)]
    all: bool,
    /// With `all`: the number of newest messages, at most 200. Default: 20.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
}

async fn read(team_context: Arc<TeamContext>, args: Read) -> Result<String, ToolError> {
    if args.all {
        return earlier(&team_context, args.limit.unwrap_or(EARLIER)).await;
    }
    if args.limit.is_some() {
        let text = "`limit` requires `all`: unread messages are always returned completely";
        return Err(ToolError::Input(text.to_owned()));
    }
    let unread = team_context.shared.arrivals.show();
    if unread.is_empty() {
        return Ok("No unread messages.".to_owned());
    }
    let texts: Vec<_> = unread.iter().map(message_line).collect();
    Ok(texts.join("\n\n"))
}

async fn earlier(team_context: &TeamContext, limit: u32) -> Result<String, ToolError> {
    if !(1..=EARLIER_MAX).contains(&limit) {
        let text = format!("`limit` must be between 1 and {EARLIER_MAX}");
        return Err(ToolError::Input(text));
    }
    let of = Some(Party::Member(team_context.client.member.clone()));
    let list = team_context
        .call::<MessageList>(ListMessages { of, limit })
        .await?;
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
        in_reply_to(message.reply_to),
        quoted(&message.text)
    )
}
