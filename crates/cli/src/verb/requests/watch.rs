//! `requests watch`: each request as soon as it waits, each message of a member to the user as soon as it is accepted,
//! and a program that runs for each.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::process::{Command, ExitCode, Stdio};

use agent_team_protocol::Party;
use agent_team_protocol::method::{ListMessages, MessageList, Nothing, RequestList, TeamShow};
use agent_team_protocol::request::{ListRequests, RequestView};
use agent_team_protocol::view::{MessageState, MessageView};
use serde::Serialize;
use serde_json::Value;

use crate::error::Failure;
use crate::output::Output;
use crate::session::{Notice, Session, Subscription};
use crate::verb::messages;

/// Messages that are looked at for those the user has not read.
const LOOKED_AT: u32 = 1_000;

/// What is new since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum News {
    Request,
    Message,
}

impl News {
    /// The variable that holds the id for the user's program.
    fn variable(self) -> &'static str {
        match self {
            Self::Request => "AGENT_TEAM_REQUEST",
            Self::Message => "AGENT_TEAM_MESSAGE",
        }
    }
}

/// One item: a line of `--json`, and the standard input of the user's program.
#[derive(Serialize)]
struct Item<'a, V> {
    kind: News,
    #[serde(flatten)]
    view: &'a V,
}

/// Prints items, each once, and runs the user's program for each.
struct Reporter {
    output: Output,
    exec: Option<String>,
    reported: BTreeSet<String>,
}

impl Reporter {
    fn report<V: Serialize>(
        &mut self,
        kind: News,
        id: impl Display,
        view: &V,
        text: impl FnOnce(&V) -> String,
    ) -> Result<(), Failure> {
        if !self.reported.insert(id.to_string()) {
            return Ok(());
        }
        let item = Item { kind, view };
        self.output.item(&item, || text(view))?;
        match &self.exec {
            Some(line) => run_program(self.output, line, kind.variable(), id, &item),
            None => Ok(()),
        }
    }
}

pub(super) async fn run(
    mut session: Session,
    output: Output,
    exec: Option<String>,
) -> Result<ExitCode, Failure> {
    let head = session.ask::<TeamShow>(Nothing {}).await?.revision;
    let mut events = Subscription::new(session.another(), head, false).await?;
    let mut reporter = Reporter {
        output,
        exec,
        reported: BTreeSet::new(),
    };
    let mut look = vec![News::Request, News::Message];
    loop {
        if look.contains(&News::Request) {
            for view in waiting(&mut session).await? {
                reporter.report(News::Request, view.id, &view, super::brief)?;
            }
        }
        if look.contains(&News::Message) {
            for view in unread(&mut session).await? {
                reporter.report(News::Message, view.id, &view, messages::text)?;
            }
        }
        look = loop {
            if let Some(news) = news(&events.next().await?) {
                break vec![news];
            }
        };
    }
}

/// Oldest first.
async fn waiting(session: &mut Session) -> Result<Vec<RequestView>, Failure> {
    let list = ListRequests { all: false };
    Ok(session.ask::<RequestList>(list).await?.requests)
}

/// Messages of members to the user that the user has not read, oldest first.
async fn unread(session: &mut Session) -> Result<Vec<MessageView>, Failure> {
    let list = ListMessages {
        of: Some(Party::User),
        limit: LOOKED_AT,
    };
    let mut messages = session.ask::<MessageList>(list).await?.messages;
    messages.retain(|message| {
        let is_question = matches!(message.from, Party::Member(_)) && message.to == Party::User;
        is_question && message.state != MessageState::Read
    });
    Ok(messages)
}

fn news(notice: &Notice) -> Option<News> {
    let Notice::Event(event) = notice else {
        return None;
    };
    let event: Value = serde_json::from_str(event.event.get()).unwrap_or_default();
    let is_to_user = |to: &Value| {
        let mut to = to.as_array().into_iter().flatten();
        to.any(|party| party == "user")
    };
    match event["kind"].as_str() {
        Some("request_asked") => Some(News::Request),
        Some("message_accepted") if is_to_user(&event["data"]["to"]) => Some(News::Message),
        _ => None,
    }
}

/// Runs the user's program to its end. A failure of it is printed, and stops nothing.
fn run_program(
    output: Output,
    line: &str,
    variable: &str,
    id: impl Display,
    item: &impl Serialize,
) -> Result<(), Failure> {
    let cannot = |error: &std::io::Error| Failure::io(format!("`{line}` cannot be run"), error);
    let mut child = Command::new("/bin/sh")
        .args(["-c", line])
        .env(variable, id.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| cannot(&error))?;
    let item = serde_json::to_vec(item).expect("a view has string keys");
    let mut stdin = child.stdin.take().expect("it is piped");
    match stdin.write_all(&item) {
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
