//! What is asked of the supervisor for the person, and what came of it. Used by [`super`].

use std::process::Stdio;
use std::time::Duration;

use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::method::{
    AddTask, MemberLog, MessageSend, OneMember, RequestDecide, RequestShow, SendMessage, TaskAdd,
};
use agent_team_protocol::request::{OneRequest, RequestView};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::{MemberName, Recipient, RequestId, TeamId};
use tokio::process::Command;

use super::state::Deed;
use crate::error::Failure;
use crate::log::Log;
use crate::session::Session;

/// Lines of a member's log that are shown of what was before, and bytes that are looked at for them.
const RECENT_LINES: usize = 12;
const RECENT: u64 = 8 << 10;

/// How long a verb that was typed may take: some go on until they are ended.
const VERB_LIMIT: Duration = Duration::from_secs(60);

/// What a member showed last.
pub(super) async fn recent(session: &mut Session, member: MemberName) -> Result<String, Failure> {
    let log = session.ask::<MemberLog>(OneMember { member }).await?;
    let (_, text) = Log::tail(log.path, RECENT)?;
    let lines: Vec<_> = text.lines().collect();
    let newest = lines.len().saturating_sub(RECENT_LINES);
    Ok(lines[newest..].join("\n"))
}

pub(super) async fn request(
    mut session: Session,
    request: RequestId,
) -> Result<RequestView, Failure> {
    session.ask::<RequestShow>(OneRequest { request }).await
}

/// Does it, and says what there is to say.
pub(super) async fn perform(
    mut session: Session,
    team: &TeamId,
    deed: Deed,
) -> Result<String, Failure> {
    match deed {
        Deed::Send { to, text } => {
            let message = SendMessage {
                to: Recipient::Member(to),
                text,
                urgent: false,
                reply_to: None,
                summary: None,
                wants_reply: false,
            };
            session.call::<MessageSend>(message).await?;
            Ok(String::new())
        }
        Deed::Task { member, line } => {
            let spec = TaskSpec::typed(&line, member);
            let added = session.call::<TaskAdd>(AddTask { spec }).await?;
            Ok(format!("{} added", added.task))
        }
        Deed::Decide(decide) => {
            session.call::<RequestDecide>(decide).await?;
            Ok(String::new())
        }
        Deed::Verb(words) => verb(team, words).await,
    }
}

/// What this program prints when it is run with these words: what it would in any other terminal.
async fn verb(team: &TeamId, words: Vec<String>) -> Result<String, Failure> {
    let of_it = |error: &std::io::Error| Failure::io("agent-team cannot be run", error);
    let own = std::env::current_exe().map_err(|error| of_it(&error))?;
    let mut command = Command::new(own);
    if words.first().is_none_or(|verb| verb != "up") {
        command.args(["--team", team.as_str()]);
    }
    // Who leaves the view does not wait for it.
    let ran = command
        .args(words)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let Ok(ran) = tokio::time::timeout(VERB_LIMIT, ran).await else {
        let text = format!("it was ended after {} s", VERB_LIMIT.as_secs());
        return Err(Failure::new("failed", ExitCode::Failed, text));
    };
    let ran = ran.map_err(|error| of_it(&error))?;
    let text = [ran.stdout, ran.stderr].concat();
    Ok(String::from_utf8_lossy(&text).into_owned())
}
