//! `logs`: prints the output of a member; with `-f` follows it. Following reads the log file when the supervisor sends
//! any stored event, or a transient event of the member; it does not poll.

use std::process::ExitCode;

use agent_team_client::{Notice, Subscription};
use agent_team_protocol::method::{MemberLog, MemberShow, OneMember};
use agent_team_protocol::{MemberName, Revision};
use serde::Serialize;

use crate::args::Global;
use crate::error::Failure;
use crate::log::Log;
use crate::output::{Output, text};

#[derive(Serialize)]
struct MemberOutput<'a> {
    member: &'a MemberName,
    text: &'a str,
}

pub(super) async fn run(
    global: &Global,
    output: Output,
    member: MemberName,
    follow: bool,
) -> Result<ExitCode, Failure> {
    let mut session = global.session()?;
    let path = session
        .query::<MemberLog>(OneMember {
            member: member.clone(),
        })
        .await?
        .path;
    // Resolve `lead` to the member's name: events contain only names.
    let shown = session.query::<MemberShow>(OneMember { member }).await?;
    let member = shown.member.name;
    let listen = async |after: Revision| Subscription::new(session.separate(), after, true).await;
    // Subscribe before reading: output that is written in between would produce no notification.
    let mut events = if follow {
        Some(listen(shown.revision).await?)
    } else {
        None
    };

    let (mut log, text) = Log::whole(path)?;
    if let Some(events) = &mut events {
        print(output, &member, &text)?;
        loop {
            if concerns(&events.next().await?, &member) {
                print(output, &member, &log.read()?)?;
            }
        }
    }
    let document = MemberOutput {
        member: &member,
        text: &text,
    };
    output.show(&document, || text::of_program(&text))?;
    Ok(ExitCode::SUCCESS)
}

fn print(output: Output, member: &MemberName, text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    output.item(&MemberOutput { member, text }, || text::of_program(text))
}

fn concerns(notice: &Notice, member: &MemberName) -> bool {
    match notice {
        Notice::Transient(transient) => transient.member == *member,
        // Any event may come with output, and reading a log that has not grown is cheap.
        Notice::Event(_) => true,
    }
}
