//! `requests watch`: prints the pending requests, the open questions and the unread messages of members to the user,
//! then each new item, and runs the user's program for each. A question is a message: it is printed only as a question.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::process::{Command, ExitCode, Stdio};

use agent_team_client::{Notice, Session, Subscription};
use agent_team_protocol::Party;
use agent_team_protocol::event::ClientEvent;
use agent_team_protocol::method::{ListMessages, MessageList, Nothing, RequestList, TeamShow};
use agent_team_protocol::request::{ListRequests, RequestListAnswer};
use agent_team_protocol::view::{MessageState, MessageView};
use serde::Serialize;

use crate::error::Failure;
use crate::output::Output;
use crate::output::request::{brief, question};
use crate::verb::messages;

/// Number of newest messages to search for unread messages.
const SEARCHED: u32 = 1_000;

/// The kind of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum ItemKind {
    Request,
    Question,
    Message,
}

impl ItemKind {
    /// The environment variable with the id, for the user's program.
    fn variable(self) -> &'static str {
        match self {
            Self::Request => "AGENT_TEAM_REQUEST",
            Self::Question | Self::Message => "AGENT_TEAM_MESSAGE",
        }
    }
}

/// One item: a line of `--json`, and the stdin of the user's program.
#[derive(Serialize)]
struct Item<'a, V> {
    kind: ItemKind,
    #[serde(flatten)]
    view: &'a V,
}

/// Prints each item once and runs the user's program for it.
struct Reporter {
    output: Output,
    exec: Option<String>,
    reported: BTreeSet<String>,
}

impl Reporter {
    fn report<V: Serialize>(
        &mut self,
        kind: ItemKind,
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
    let head = session.query::<TeamShow>(Nothing {}).await?.revision;
    let mut events = Subscription::new(session.separate(), head, false).await?;
    let mut reporter = Reporter {
        output,
        exec,
        reported: BTreeSet::new(),
    };
    let mut changed = vec![ItemKind::Request, ItemKind::Message];
    loop {
        if changed.contains(&ItemKind::Request) {
            for view in pending(&mut session).await?.requests {
                reporter.report(ItemKind::Request, view.id, &view, brief)?;
            }
        }
        if changed.contains(&ItemKind::Message) {
            for view in pending(&mut session).await?.questions {
                reporter.report(ItemKind::Question, view.id, &view, question)?;
            }
            for view in unread(&mut session).await? {
                reporter.report(ItemKind::Message, view.id, &view, messages::text)?;
            }
        }
        changed = loop {
            let kinds = changed_kinds(&events.next().await?);
            if !kinds.is_empty() {
                break kinds.to_vec();
            }
        };
    }
}

/// The pending requests and the open questions, each oldest first.
async fn pending(session: &mut Session) -> Result<RequestListAnswer, Failure> {
    let list = ListRequests { all: false };
    Ok(session.query::<RequestList>(list).await?)
}

/// Messages of members to the user that the user has not read, oldest first.
async fn unread(session: &mut Session) -> Result<Vec<MessageView>, Failure> {
    let list = ListMessages {
        of: Some(Party::User),
        limit: SEARCHED,
    };
    let mut messages = session.query::<MessageList>(list).await?.messages;
    messages.retain(|message| {
        let is_to_user = matches!(message.from, Party::Member(_)) && message.to == Party::User;
        is_to_user && message.state != MessageState::Read
    });
    Ok(messages)
}

fn changed_kinds(notice: &Notice) -> &'static [ItemKind] {
    let Notice::Event(notice) = notice else {
        return &[];
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "no other event adds an item"
    )]
    match &notice.event {
        ClientEvent::RequestAsked { .. } => &[ItemKind::Request],
        ClientEvent::MessageAccepted { to, .. } if to.contains(&Party::User) => {
            &[ItemKind::Message]
        }
        // An event of a newer supervisor may add an item of either kind.
        ClientEvent::Unknown => &[ItemKind::Request, ItemKind::Message],
        _ => &[],
    }
}

/// Runs the user's program and waits for its exit. Reports a failure of the program; watching continues.
fn run_program(
    output: Output,
    line: &str,
    variable: &str,
    id: impl Display,
    item: &impl Serialize,
) -> Result<(), Failure> {
    let cannot = |error: &std::io::Error| Failure::io(format!("cannot run `{line}`"), error);
    let mut child = Command::new("/bin/sh")
        .args(["-c", line])
        .env(variable, id.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| cannot(&error))?;
    let item = serde_json::to_vec(item).expect("a view has string keys");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    match stdin.write_all(&item) {
        // The program may ignore its stdin.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(cannot(&error)),
        Ok(()) | Err(_) => drop(stdin),
    }
    let status = child.wait().map_err(|error| cannot(&error))?;
    if !status.success() {
        output.note(&format!("{id}: `{line}` failed: {status}"));
    }
    Ok(())
}
