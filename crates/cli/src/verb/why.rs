//! `why`: one sentence about a member's state, from facts.

use std::process::ExitCode;

use agent_team_protocol::MemberName;
use agent_team_protocol::method::{MemberShow, OneMember};
use agent_team_protocol::view::{MemberState, Waiting};
use serde::Serialize;

use crate::args::Global;
use crate::error::Failure;
use crate::output::{Output, text};
use crate::session::Session;

#[derive(Serialize)]
struct Document<'a> {
    member: &'a MemberName,
    state: MemberState,
    for_ms: u64,
    why: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<&'a Waiting>,
}

pub(super) async fn run(
    global: &Global,
    output: Output,
    member: MemberName,
) -> Result<ExitCode, Failure> {
    let answer = Session::of_team(global)?
        .ask::<MemberShow>(OneMember { member })
        .await?;
    let member = answer.member;
    let document = Document {
        member: &member.name,
        state: member.state,
        for_ms: member.for_ms,
        why: &member.why,
        waiting: member.waiting.as_ref(),
    };
    output.show(&document, || format!("{}\n", text::line(&member.why)))?;
    Ok(ExitCode::SUCCESS)
}
