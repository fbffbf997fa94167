//! What `top` asks of the supervisor: what is out of date, and what the person does. Used by the loop.

use std::path::PathBuf;

use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::method::{
    Down, ListMessages, MemberAnswer, MemberKill, MemberLog, MemberRestart, MemberSpawn,
    MemberStop, MessageList, MessageSend, Nothing, OneMember, OneTask, RequestDecide, RequestList,
    SendMessage, Spawn, Stop, TaskShow, TeamDown, TeamShow,
};
use agent_team_protocol::request::{Decision, ListRequests, Scope};
use agent_team_protocol::view::TeamState;
use agent_team_protocol::{MemberName, Party};

use super::stale::Stale;
use super::state::{Deed, Seen};
use crate::error::Failure;
use crate::output::receipt;
use crate::session::Session;

/// The newest messages that are shown.
const MESSAGES: u32 = 200;

/// Looks up what is out of date. The team is looked at each time, and may show requests whose events are still on their
/// way; `known`: how many were.
pub(super) async fn look(
    session: &mut Session,
    stale: Stale,
    known: usize,
) -> Result<Seen, Failure> {
    let team = session.ask::<TeamShow>(Nothing {}).await?;
    let pending: u32 = team.members.iter().map(|member| member.requests).sum();
    let tasks = if stale.board {
        session.board().await?
    } else {
        let mut tasks = Vec::new();
        for task in stale.tasks {
            tasks.push(session.ask::<TaskShow>(OneTask { task }).await?);
        }
        tasks
    };
    let requests = if stale.requests || known != pending as usize {
        let list = ListRequests { all: false };
        Some(session.ask::<RequestList>(list).await?.requests)
    } else {
        None
    };
    let messages = if stale.messages {
        let list = ListMessages {
            of: None,
            limit: MESSAGES,
        };
        Some(session.ask::<MessageList>(list).await?.messages)
    } else {
        None
    };
    Ok(Seen {
        team,
        board: stale.board,
        tasks,
        requests,
        messages,
    })
}

pub(super) async fn log_of(session: &mut Session, member: MemberName) -> Result<PathBuf, Failure> {
    let log = session.ask::<MemberLog>(OneMember { member }).await?;
    Ok(log.path)
}

/// Does it, and says what came of it.
pub(super) async fn perform(mut session: Session, deed: Deed) -> Result<String, Failure> {
    let said = match deed {
        Deed::Decide(decide) => {
            let request = decide.request;
            let said = match &decide.decision {
                Decision::Allow {
                    scope: Scope::Once, ..
                } => format!("{request} is allowed, once"),
                Decision::Allow { rules, .. } => {
                    format!("{request} is allowed, for the team: {}", rules.join(" "))
                }
                Decision::Deny { .. } | Decision::Unknown => format!("{request} is denied"),
            };
            session.call::<RequestDecide>(decide).await?;
            said
        }
        Deed::Send { to, text, urgent } => {
            let message = SendMessage {
                to,
                text,
                urgent,
                reply_to: None,
                summary: None,
                wants_reply: false,
            };
            let sent = session.call::<MessageSend>(message).await?;
            let names: Vec<_> = sent.to.iter().map(Party::to_string).collect();
            match names.as_slice() {
                [] => format!("{} has no recipient: nobody else is there", sent.id),
                names => format!("{} is in the inbox of {}", sent.id, names.join(", ")),
            }
        }
        Deed::Spawn { role, name } => {
            after(session.call::<MemberSpawn>(Spawn::of(role, name)).await?)
        }
        Deed::Stop(member) => {
            let stop = Stop {
                member,
                force: false,
            };
            after(session.call::<MemberStop>(stop).await?)
        }
        Deed::Kill(member) => after(session.call::<MemberKill>(OneMember { member }).await?),
        Deed::Restart(member) => after(session.call::<MemberRestart>(OneMember { member }).await?),
        Deed::Down => {
            let down = session.call::<TeamDown>(Down { force: false }).await?;
            if receipt::exit(&down.receipts) == ExitCode::Survived {
                let failure = "something survived: agent-team down says what";
                return Err(Failure::new("survived", ExitCode::Survived, failure));
            }
            "the team is down".to_owned()
        }
    };
    Ok(said)
}

fn after(answer: MemberAnswer) -> String {
    match answer.team {
        Some(TeamState::Down) => format!("{}; the team is down", answer.member.why),
        Some(TeamState::Up) | None => answer.member.why,
    }
}
