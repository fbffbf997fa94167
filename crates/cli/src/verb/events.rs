//! `events`: prints the events of the team in order; with `-f` follows them. The text output has a sentence for each
//! client event, the JSON output AG-UI events in envelopes.

mod sentence;

use std::process::ExitCode;

use agent_team_client::{Envelopes, Notice, Subscription};
use agent_team_protocol::Revision;
use agent_team_protocol::event::ClientEvent;
use agent_team_protocol::notification::EventNotice;

use self::sentence::sentence;
use crate::args::Global;
use crate::error::Failure;
use crate::output::{Output, text, time};

pub(super) async fn run(
    global: &Global,
    output: Output,
    follow: bool,
    after: Revision,
) -> Result<ExitCode, Failure> {
    if output.is_json() {
        return envelopes(global, output, follow, after).await;
    }
    let mut events = Subscription::new(global.session()?, after, false).await?;
    let mut last = after;
    while follow || last < events.head() {
        if let Notice::Event(event) = events.next().await? {
            last = event.revision;
            output.write(&line(&event))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The JSON output. Always subscribes from revision 0: the role of a member and the run of an event follow from earlier
/// events.
async fn envelopes(
    global: &Global,
    output: Output,
    follow: bool,
    after: Revision,
) -> Result<ExitCode, Failure> {
    let session = global.session()?;
    let mut events = Subscription::new(session, Revision(0), follow).await?;
    let mut envelopes = None;
    let mut unreadable = 0;
    let mut last = Revision(0);
    while follow || last < events.head() {
        let notice = events.next().await?;
        let team = match &notice {
            Notice::Event(event) => &event.team,
            Notice::Transient(transient) => &transient.team,
        };
        if envelopes.is_none() {
            let mut new = Envelopes::new(team.clone());
            let snapshot = new.snapshot();
            // A client that resumes after a revision already has the state of that revision.
            if after == Revision(0) {
                output.item(&snapshot, String::new)?;
            }
            envelopes = Some(new);
        }
        let envelopes = envelopes.as_mut().expect("set above");
        let is_new = match &notice {
            Notice::Event(event) => {
                last = event.revision;
                let is_new = last > after;
                unreadable += u64::from(is_new && matches!(event.event, ClientEvent::Unknown));
                is_new
            }
            Notice::Transient(_) => true,
        };
        let translated = envelopes.notice(&notice);
        if is_new {
            for envelope in translated {
                output.item(&envelope, String::new)?;
            }
        }
    }
    report_unreadable(output, unreadable);
    Ok(ExitCode::SUCCESS)
}

/// Reports events that the supervisor could not read: another version of agent-team wrote them, or they are too large.
pub(super) fn report_unreadable(output: Output, count: u64) {
    if count > 0 {
        let events = text::count(count, "event");
        output.warn(&format!("warning: {events} could not be read: written by another version of agent-team, or too large"));
    }
}

/// `12  2026-11-21T03:42:19Z  ada started T-3`
fn line(notice: &EventNotice) -> String {
    format!(
        "{:>5}  {}  {}\n",
        notice.revision.0,
        time::utc(notice.at),
        sentence(&notice.event)
    )
}
