//! `send --wait`: the reply of the member that a message was sent to.
//!
//! The message asks for a reply (`wants_reply`), so that an agent answers with a message and not only in its pane. The
//! reply is the first message of the member to the user whose `reply_to` is this message. Other messages of the member
//! meanwhile, such as a progress report or the answer to another `send`, are not the reply.

use agent_team_protocol::method::{
    ListMessages, MemberShow, MessageList, MessageSend, Nothing, OneMember, SendAnswer,
    SendMessage, TeamShow,
};
use agent_team_protocol::spec::Engine;
use agent_team_protocol::view::{MemberState, MemberView, MessageView};
use agent_team_protocol::{ErrorCode, MemberName, MessageId, Party, Recipient};
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::session::{Notice, Session, Subscription};
use crate::verb::messages::mark_read;
use crate::verb::within;

/// Messages that are looked at for the reply.
const LOOKED_AT: u32 = 1_000;

/// The document of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Answered {
    id: MessageId,
    to: Vec<Party>,
    pub(super) reply: MessageView,
}

/// The part of an event that says whether it is a reply, or concerns the member.
#[derive(Debug, Deserialize)]
struct Event {
    kind: String,
    #[serde(default)]
    data: Data,
}

#[derive(Debug, Default, Deserialize)]
struct Data {
    #[serde(default)]
    message: Option<MessageId>,
    #[serde(default)]
    member: Option<MemberName>,
    #[serde(default)]
    from: Option<Party>,
    #[serde(default)]
    to: Vec<Party>,
    #[serde(default)]
    reply_to: Option<MessageId>,
}

/// Sends the message and waits for its reply, which then counts as read.
pub(super) async fn send_and_wait(
    session: &mut Session,
    message: SendMessage,
    timeout: Option<u64>,
) -> Result<Answered, Failure> {
    let team = session.ask::<TeamShow>(Nothing {}).await?;
    let member = recipient(&message.to, &team.members)?.clone();
    // Subscribed before the message is sent, so that no reply is missed.
    let mut events = Subscription::new(session.another(), team.revision, false).await?;
    let sent = session.call::<MessageSend>(message).await?;
    let what = format!("the reply of {member} to {}", sent.id);
    let reply = within(timeout, &what, reply(session, &mut events, &sent, &member)).await?;
    mark_read(session, vec![reply.id]).await?;
    Ok(Answered {
        id: sent.id,
        to: sent.to,
        reply,
    })
}

/// The one member that is written to.
fn recipient<'a>(to: &Recipient, members: &'a [MemberView]) -> Result<&'a MemberName, Failure> {
    let found = match to {
        Recipient::Lead => members.iter().find(|member| member.lead),
        Recipient::Member(name) => members.iter().find(|member| member.name == *name),
        Recipient::All | Recipient::User => {
            return Err(Failure::usage("--wait waits for the reply of one member"));
        }
    };
    let Some(member) = found else {
        return Err(
            Failure::of(ErrorCode::UnknownMember, format!("there is no member {to}"))
                .hint("agent-team ps lists the members"),
        );
    };
    if member.engine == Engine::Command {
        let text = format!("{} runs commands and sends no replies", member.name);
        return Err(Failure::usage(text).hint("leave --wait out"));
    }
    Ok(&member.name)
}

async fn reply(
    session: &mut Session,
    events: &mut Subscription,
    sent: &SendAnswer,
    member: &MemberName,
) -> Result<MessageView, Failure> {
    // After the message is stored: events report only later changes.
    check_lives(session, member).await?;
    loop {
        let Notice::Event(event) = events.next().await? else {
            continue;
        };
        let Ok(Event { kind, data }) = serde_json::from_str(event.event.get()) else {
            continue;
        };
        let is_from_member = matches!(&data.from, Some(Party::Member(name)) if name == member);
        if let ("message_accepted", Some(message)) = (kind.as_str(), data.message)
            && is_from_member
            && data.reply_to == Some(sent.id)
            && data.to.contains(&Party::User)
        {
            return find(session, message).await;
        }
        if data.member.as_ref() == Some(member) {
            check_lives(session, member).await?;
        }
    }
}

async fn find(session: &mut Session, message: MessageId) -> Result<MessageView, Failure> {
    let list = ListMessages {
        of: Some(Party::User),
        limit: LOOKED_AT,
    };
    let messages = session.ask::<MessageList>(list).await?.messages;
    let found = messages
        .into_iter()
        .find(|view| view.id == message && view.to == Party::User);
    found.ok_or_else(|| {
        let text = format!("{message} is not among the newest messages");
        Failure::of(ErrorCode::UnknownMessage, text)
    })
}

/// A member that is held or stopped does not reply.
async fn check_lives(session: &mut Session, member: &MemberName) -> Result<(), Failure> {
    let one = OneMember {
        member: member.clone(),
    };
    let view = session.ask::<MemberShow>(one).await?.member;
    if matches!(view.state, MemberState::Held | MemberState::Stopped) {
        let exit = agent_team_protocol::exit::ExitCode::Failed;
        let text = format!("cannot wait for a reply: {}", view.why);
        return Err(Failure::new("member_ended", exit, text));
    }
    Ok(())
}
