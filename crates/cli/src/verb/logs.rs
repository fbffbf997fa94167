//! `logs`: what a member printed, and with `-f` what it prints. Following reads on whenever the supervisor tells of the
//! member; no clock is involved.

use std::process::ExitCode;

use agent_team_protocol::method::{MemberLog, MemberShow, OneMember};
use agent_team_protocol::{MemberName, Revision};
use serde::Serialize;

use crate::args::Global;
use crate::error::Failure;
use crate::log::Log;
use crate::output::{Output, text};
use crate::session::{Notice, Session, Subscription};

#[derive(Serialize)]
struct Document<'a> {
    member: &'a MemberName,
    text: &'a str,
}

pub(super) async fn run(
    global: &Global,
    output: Output,
    member: MemberName,
    follow: bool,
) -> Result<ExitCode, Failure> {
    let mut session = Session::of_team(global)?;
    let path = session
        .ask::<MemberLog>(OneMember {
            member: member.clone(),
        })
        .await?
        .path;
    // Resolves `lead`, which events never say.
    let shown = session.ask::<MemberShow>(OneMember { member }).await?;
    let member = shown.member.name;
    let listen = async |after: Revision| Subscription::new(session.another(), after, true).await;
    // Listening comes before reading, so that nothing falls between the two.
    let mut events = if follow {
        Some(listen(shown.revision).await?)
    } else {
        None
    };

    let mut text = Log::rotated(&path)?.read()?;
    let mut log = Log::new(path);
    text.push_str(&log.read()?);
    if let Some(events) = &mut events {
        print(output, &member, &text)?;
        loop {
            if concerns(&events.next().await?, &member) {
                print(output, &member, &log.read()?)?;
            }
        }
    }
    let document = Document {
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
    output.item(&Document { member, text }, || text::of_program(text))
}

fn concerns(notice: &Notice, member: &MemberName) -> bool {
    match notice {
        Notice::Transient(transient) => transient.member == *member,
        // Which of them come with output is the worker's affair; a look in vain costs little.
        Notice::Event(_) => true,
    }
}
