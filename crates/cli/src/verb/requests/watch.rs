//! `requests watch`: each request as soon as it waits, and a program that is told of it.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::process::{Command, ExitCode, Stdio};

use agent_team_protocol::RequestId;
use agent_team_protocol::method::{Nothing, RequestList, TeamShow};
use agent_team_protocol::request::{ListRequests, RequestView};
use serde_json::Value;

use crate::error::Failure;
use crate::output::Output;
use crate::session::{Notice, Session, Subscription};

pub(super) async fn run(
    mut session: Session,
    output: Output,
    exec: Option<String>,
) -> Result<ExitCode, Failure> {
    let head = session.ask::<TeamShow>(Nothing {}).await?.revision;
    let mut events = Subscription::new(session.another(), head, false).await?;
    let mut told = BTreeSet::new();
    loop {
        for view in waiting(&mut session).await? {
            if told.insert(view.id) {
                output.item(&view, || super::brief(&view))?;
                if let Some(line) = &exec {
                    tell(output, line, &view)?;
                }
            }
        }
        while !is_request(&events.next().await?) {}
    }
}

/// Oldest first.
async fn waiting(session: &mut Session) -> Result<Vec<RequestView>, Failure> {
    let list = ListRequests { all: false };
    Ok(session.ask::<RequestList>(list).await?.requests)
}

fn is_request(notice: &Notice) -> bool {
    match notice {
        Notice::Event(event) => {
            let event: Value = serde_json::from_str(event.event.get()).unwrap_or_default();
            event["kind"] == "request_asked"
        }
        Notice::Transient(_) => false,
    }
}

/// Runs the person's program to its end. That it fails is said, and stops nothing.
fn tell(output: Output, line: &str, view: &RequestView) -> Result<(), Failure> {
    let id: RequestId = view.id;
    let cannot = |error: &std::io::Error| Failure::io(format!("`{line}` cannot be run"), error);
    let mut child = Command::new("/bin/sh")
        .args(["-c", line])
        .env("AGENT_TEAM_REQUEST", id.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| cannot(&error))?;
    let view = serde_json::to_vec(view).expect("a view has string keys");
    let mut stdin = child.stdin.take().expect("it is piped");
    match stdin.write_all(&view) {
        // It does not want to know more.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(cannot(&error)),
        Ok(()) | Err(_) => drop(stdin),
    }
    let status = child.wait().map_err(|error| cannot(&error))?;
    if !status.success() {
        output.note(&format!("{id}: `{line}` failed: {status}"));
    }
    Ok(())
}
