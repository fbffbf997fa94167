//! `send --wait`: waits for the reply of the recipient.
//!
//! The message sets `wants_reply`, so that an agent answers with a message and not only in its pane. The reply is the
//! first message of the member to the user whose `reply_to` is this message; other messages of the member, such as a
//! progress report or the answer to another `send`, are ignored.

use agent_team_client::{Notice, Session, Subscription};
use agent_team_protocol::event::ClientEvent;
use agent_team_protocol::method::{
    ListMessages, MemberShow, MessageList, MessageSend, Nothing, OneMember, SendAnswer,
    SendMessage, TeamShow,
};
use agent_team_protocol::view::{MemberState, MessageView};
use agent_team_protocol::{ErrorCode, MemberName, MessageId, Party, Recipient};
use serde::Serialize;

use crate::error::Failure;
use crate::verb::messages::mark_read;
use crate::verb::waiting::within;

/// Number of newest messages to search for the reply.
const SEARCHED: u32 = 1_000;

/// The message that was sent, and the reply.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SentAndAnswered {
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<MessageId>"))]
    id: MessageId,
    #[cfg_attr(test, schemars(with = "Vec<crate::reference::json::Wire<Party>>"))]
    to: Vec<Party>,
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<MessageView>"))]
    pub(super) reply: MessageView,
}

/// Sends the message, waits for the reply and marks it as read.
pub(super) async fn send_and_wait(
    session: &mut Session,
    message: SendMessage,
    timeout: Option<u64>,
) -> Result<SentAndAnswered, Failure> {
    let member = recipient(session, &message.to).await?;
    let team = session.query::<TeamShow>(Nothing {}).await?;
    // Subscribe from a revision before the message: otherwise an early reply would be missed.
    let mut events = Subscription::new(session.separate(), team.revision, false).await?;
    let sent = session.call::<MessageSend>(message).await?;
    let what = format!("the reply of {member} to {}", sent.id);
    let reply = within(timeout, &what, reply(session, &mut events, &sent, &member)).await?;
    mark_read(session, vec![reply.id]).await?;
    Ok(SentAndAnswered {
        id: sent.id,
        to: sent.to,
        reply,
    })
}

/// The member that receives the message; exactly one agent.
async fn recipient(session: &mut Session, to: &Recipient) -> Result<MemberName, Failure> {
    let name = match to {
        Recipient::Lead | Recipient::Member(_) => to.to_string(),
        Recipient::All | Recipient::User => {
            return Err(Failure::usage(
                "cannot use --wait: the recipient must be one member",
            ));
        }
    };
    let member = name.parse::<MemberName>();
    let member = member.map_err(|error| Failure::usage(error.to_string()))?;
    let member = session
        .query::<MemberShow>(OneMember { member })
        .await?
        .member;
    if member.engine.runs_lines() {
        let text = format!("{} is a command member and sends no replies", member.name);
        return Err(Failure::usage(text).hint("omit --wait"));
    }
    if member.engine.shows_program() {
        let text = format!(
            "{} shows a program that receives no messages and sends no replies",
            member.name
        );
        return Err(Failure::usage(text).hint("omit --wait"));
    }
    Ok(member.name)
}

async fn reply(
    session: &mut Session,
    events: &mut Subscription,
    sent: &SendAnswer,
    member: &MemberName,
) -> Result<MessageView, Failure> {
    // Events report only changes after the subscription, so the state before it must be read once.
    check_running(session, member).await?;
    loop {
        let Notice::Event(notice) = events.next().await? else {
            continue;
        };
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "no other event is a reply or the end of the member"
        )]
        match notice.event {
            ClientEvent::MessageAccepted {
                message,
                from: Party::Member(from),
                to,
                reply_to,
                ..
            } if from == *member && reply_to == Some(sent.id) && to.contains(&Party::User) => {
                return find(session, message).await;
            }
            ClientEvent::LaunchEnded { member: ended, .. }
            | ClientEvent::MemberParked { member: ended, .. }
            | ClientEvent::MemberRemoved { member: ended }
                if ended == *member =>
            {
                check_running(session, member).await?;
            }
            // An event of a newer supervisor may be the end of the member.
            ClientEvent::Unknown => check_running(session, member).await?,
            _ => {}
        }
    }
}

async fn find(session: &mut Session, message: MessageId) -> Result<MessageView, Failure> {
    let list = ListMessages {
        of: Some(Party::User),
        limit: SEARCHED,
    };
    let messages = session.query::<MessageList>(list).await?.messages;
    let found = messages
        .into_iter()
        .find(|view| view.id == message && view.to == Party::User);
    found.ok_or_else(|| {
        let text = format!("{message} is not among the newest messages");
        Failure::of(ErrorCode::UnknownMessage, text)
    })
}

/// Fails when the member is held or stopped, because it cannot reply.
async fn check_running(session: &mut Session, member: &MemberName) -> Result<(), Failure> {
    let one = OneMember {
        member: member.clone(),
    };
    let view = session.query::<MemberShow>(one).await?.member;
    if matches!(view.state, MemberState::Held | MemberState::Stopped) {
        let exit = agent_team_protocol::exit::ExitCode::Failed;
        let text = format!("cannot wait for a reply: {}", view.why);
        return Err(Failure::new("member_ended", exit, text));
    }
    Ok(())
}
