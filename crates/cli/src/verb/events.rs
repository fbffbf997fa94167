//! `events`: what happened, in order, and with `-f` what happens.

use std::process::ExitCode;

use agent_team_protocol::Revision;
use agent_team_protocol::notification::EventNotice;

use crate::args::Global;
use crate::error::Failure;
use crate::output::{Output, text, time};
use crate::session::{Notice, Session, Subscription};

pub(super) async fn run(
    global: &Global,
    output: Output,
    follow: bool,
    after: Revision,
) -> Result<ExitCode, Failure> {
    let mut events = Subscription::new(Session::of_team(global)?, after, false).await?;
    let mut last = after;
    while follow || last < events.head() {
        if let Notice::Event(event) = events.next().await? {
            last = event.revision;
            output.item(&event, || line(&event))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `12  2026-11-21T03:42:19Z  task_claimed  {"task":"T-1",…}`
fn line(notice: &EventNotice) -> String {
    let event: serde_json::Value = serde_json::from_str(notice.event.get()).unwrap_or_default();
    let kind = event["kind"].as_str().unwrap_or("?");
    let data = match event.get("data") {
        Some(data) => data.to_string(),
        None => String::new(),
    };
    let line = format!(
        "{:>5}  {}  {kind:<16} {data}",
        notice.revision.0,
        time::utc(notice.at)
    );
    format!("{}\n", text::line(&line))
}
