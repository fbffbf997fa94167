//! The calls of `top` to the supervisor: reads of outdated data, and the actions of the user. Called by the event loop.

use std::path::PathBuf;

use agent_team_client::Session;
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::method::{
    AddTask, Down, ListMessages, MemberAnswer, MemberKill, MemberLog, MemberRestart, MemberSpawn,
    MemberStop, MessageList, MessageSend, Nothing, OneMember, OneTask, RequestDecide, RequestList,
    SendMessage, Spawn, Stop, TaskAdd, TaskCancel, TaskRetry, TaskShow, TeamDown, TeamShow,
};
use agent_team_protocol::request::{Decision, ListRequests, Scope};
use agent_team_protocol::view::TeamState;
use agent_team_protocol::{MemberName, Party};

use super::stale::Stale;
use super::state::{Action, Refresh};
use crate::error::Failure;
use crate::output::{receipt, task};

/// Number of newest messages to read.
const MESSAGES: u32 = 200;

/// Reads the team, and the data that `stale` marks as outdated. The count of requests in the team view can be newer
/// than the events. Therefore the requests are also read when this count differs from `known`, the number of requests
/// that `top` has.
pub(super) async fn refresh(
    session: &mut Session,
    stale: Stale,
    known: usize,
) -> Result<Refresh, Failure> {
    let team = session.query::<TeamShow>(Nothing {}).await?;
    let pending: u32 = team.members.iter().map(|member| member.requests).sum();
    let tasks = if stale.board {
        session.board().await?
    } else {
        let mut tasks = Vec::new();
        for task in stale.tasks {
            tasks.push(session.query::<TaskShow>(OneTask { task }).await?);
        }
        tasks
    };
    let requests = if stale.requests || known != pending as usize {
        let list = ListRequests { all: false };
        Some(session.query::<RequestList>(list).await?.requests)
    } else {
        None
    };
    let messages = if stale.messages {
        let list = ListMessages {
            of: None,
            limit: MESSAGES,
        };
        Some(session.query::<MessageList>(list).await?.messages)
    } else {
        None
    };
    Ok(Refresh {
        team,
        board: stale.board,
        tasks,
        requests,
        messages,
    })
}

pub(super) async fn log_of(session: &mut Session, member: MemberName) -> Result<PathBuf, Failure> {
    let log = session.query::<MemberLog>(OneMember { member }).await?;
    Ok(log.path)
}

/// Carries out an action; returns the text for the status line.
pub(super) async fn perform(mut session: Session, action: Action) -> Result<String, Failure> {
    let text = match action {
        Action::Decide(decide) => {
            let request = decide.request;
            let text = match &decide.decision {
                Decision::Allow {
                    scope: Scope::Once, ..
                } => format!("{request} is allowed once"),
                Decision::Allow { scope, rules } => {
                    let scope = scope.name();
                    match rules.is_empty() {
                        true => format!("{request} is allowed with scope {scope}"),
                        false => format!(
                            "{request} is allowed with scope {scope}: {}",
                            rules.join(" ")
                        ),
                    }
                }
                Decision::Deny { .. } | Decision::Unknown => format!("{request} is denied"),
            };
            session.call::<RequestDecide>(decide).await?;
            text
        }
        Action::Send { to, text, urgent } => {
            let message = SendMessage {
                to,
                text,
                urgent,
                reply_to: None,
                summary: None,
                wants_reply: false,
                attach_outside: true,
            };
            let sent = session.call::<MessageSend>(message).await?;
            let names: Vec<_> = sent.to.iter().map(Party::to_string).collect();
            match names.as_slice() {
                [] => format!(
                    "{} has no recipient: the team has no other members",
                    sent.id
                ),
                names => {
                    let text = format!("sent {} to {}", sent.id, names.join(", "));
                    match sent.shown_not_delivered() {
                        Some(note) => format!("{text}; {note}"),
                        None => text,
                    }
                }
            }
        }
        Action::Spawn { role, name } => {
            member_status(session.call::<MemberSpawn>(Spawn::of(role, name)).await?)
        }
        Action::Stop(member) => {
            let stop = Stop {
                member,
                force: false,
            };
            member_status(session.call::<MemberStop>(stop).await?)
        }
        Action::Kill(member) => {
            member_status(session.call::<MemberKill>(OneMember { member }).await?)
        }
        Action::Restart(member) => {
            member_status(session.call::<MemberRestart>(OneMember { member }).await?)
        }
        Action::AddTask(spec) => {
            let added = session.call::<TaskAdd>(AddTask { spec: *spec }).await?;
            let id = added.task;
            let view = session.query::<TaskShow>(OneTask { task: id }).await;
            let team = session.query::<TeamShow>(Nothing {}).await;
            let mut text = format!("{id} added");
            // The task is stored: a failure here must not make the user add it again.
            if let (Ok(view), Ok(team)) = (view, team)
                && let Some(why) = task::unclaimable(&view, &team.members)
            {
                text.push_str(&format!("; {why}"));
            }
            text
        }
        Action::Retry(task) => {
            let retried = session.call::<TaskRetry>(OneTask { task }).await?;
            format!("{} is pending again", retried.task)
        }
        Action::Cancel(task) => {
            let cancelled = session.call::<TaskCancel>(OneTask { task }).await?;
            format!("{} is cancelled", cancelled.task)
        }
        Action::Down => {
            let down = session.call::<TeamDown>(Down { force: false }).await?;
            if receipt::exit(&down.receipts) == ExitCode::Survived {
                let text =
                    "cannot terminate all processes; list the receipts with: agent-team down";
                return Err(Failure::new("survived", ExitCode::Survived, text));
            }
            "the team is down".to_owned()
        }
    };
    Ok(text)
}

fn member_status(answer: MemberAnswer) -> String {
    match answer.team {
        Some(TeamState::Down) => format!("{}; the team is down", answer.member.why),
        Some(TeamState::Up) | None => answer.member.why,
    }
}
