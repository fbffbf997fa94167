//! `audit`: prints the permission decisions of a team. It reads them from the journal, where each decision is stored
//! before it takes effect. `top` uses [`Decisions`].

mod decisions;
pub(crate) mod entry;
pub(crate) mod export;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use agent_team_client::{DeniedCalls, Notice, Session, Subscription};
use agent_team_policy::call_line;
use agent_team_protocol::event::ClientEvent;
use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_protocol::result::RunResult;
use agent_team_protocol::{MemberName, Revision};
use agent_team_system::directories::Directories;
use tokio::time::timeout;

pub(crate) use self::decisions::{DecisionEntry, Decisions};
use self::entry::{entry, line};
use super::events::report_unreadable;
use crate::args::{AuditCommand, Global};
use crate::error::Failure;
use crate::output::Output;
use crate::secrets::Secrets;

/// Timeout for reading the denied calls.
const DENIED_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn run(
    global: &Global,
    output: Output,
    member: Option<MemberName>,
    command: Option<AuditCommand>,
) -> Result<ExitCode, Failure> {
    let mut session = global.session()?;
    let export_team = match command {
        Some(AuditCommand::Export) => Some(session.query::<TeamShow>(Nothing {}).await?.team),
        None => None,
    };
    let mut entries = Vec::new();
    let mut events = Subscription::new(session, Revision(0), false).await?;
    let mut subjects = BTreeMap::new();
    let mut last = Revision(0);
    let (mut is_empty, mut unreadable) = (true, 0);
    while last < events.head() {
        let Notice::Event(event) = events.next().await? else {
            continue;
        };
        last = event.revision;
        unreadable += u64::from(matches!(event.event, ClientEvent::Unknown));
        let Some(entry) = entry(&event, &mut subjects) else {
            continue;
        };
        let subject_member = entry.subject.as_ref().map(|subject| &subject.member);
        let subject_member = subject_member.or(entry.member.as_ref());
        if member.is_some() && subject_member != member.as_ref() {
            continue;
        }
        match export_team {
            Some(_) => entries.push(entry),
            None => output.item(&entry, || line(&entry))?,
        }
        is_empty = false;
    }
    if is_empty && export_team.is_none() && !output.is_json() {
        output.write("no permission decisions\n")?;
    }
    if let Some(team) = export_team {
        let secrets = Secrets::of(&Directories::from_environment()?, &team);
        for line in export::lines(&team, &entries, &secrets) {
            output.write(&format!("{line}\n"))?;
        }
    }
    report_unreadable(output, unreadable);
    Ok(ExitCode::SUCCESS)
}

/// Adds to the result the calls that were denied after this revision. If they cannot be read, prints a note and leaves
/// the result as it is.
pub(super) async fn fill_denied<O>(
    result: &mut RunResult<O>,
    session: &Session,
    output: Output,
    after: Revision,
) {
    match timeout(DENIED_TIMEOUT, denied(session.separate(), after)).await {
        Ok(Ok(denied)) => result.denied = denied,
        Ok(Err(_)) | Err(_) => output.note("cannot read the denied calls"),
    }
}

/// The calls that were denied after this revision, in order.
async fn denied(session: Session, after: Revision) -> Result<Vec<String>, Failure> {
    let mut events = Subscription::new(session, after, false).await?;
    let mut denied = DeniedCalls::default();
    let mut last = after;
    while last < events.head() {
        if let Notice::Event(event) = events.next().await? {
            last = event.revision;
            denied.on_event(event.event);
        }
    }
    Ok(denied.lines(call_line))
}
