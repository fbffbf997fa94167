//! `why`: one sentence about a member's state, from facts; of an idle member also what is stuck on the board.

use std::process::ExitCode;

use agent_team_protocol::MemberName;
use agent_team_protocol::method::{MemberShow, OneMember};
use agent_team_protocol::view::{MemberState, Waiting};
use serde::Serialize;

use crate::args::Global;
use crate::error::Failure;
use crate::output::{Output, task, text};
use crate::session::Session;

#[derive(Serialize)]
struct Document<'a> {
    member: &'a MemberName,
    state: MemberState,
    for_ms: u64,
    why: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<&'a Waiting>,
    /// Tasks that wait for a failed or cancelled one, and the ways out, a line each.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stuck: &'a [String],
}

pub(super) async fn run(
    global: &Global,
    output: Output,
    member: MemberName,
) -> Result<ExitCode, Failure> {
    let mut session = Session::of_team(global)?;
    let answer = session.ask::<MemberShow>(OneMember { member }).await?;
    let member = answer.member;
    // An idle member may be idle because of the board.
    let stuck = match member.state {
        MemberState::Idle => task::stuck(&session.board().await?),
        MemberState::Planned
        | MemberState::Launching
        | MemberState::Working
        | MemberState::Waiting
        | MemberState::Unresponsive
        | MemberState::Draining
        | MemberState::Cooling
        | MemberState::Held
        | MemberState::Stopped
        | MemberState::Unknown => Vec::new(),
    };
    let document = Document {
        member: &member.name,
        state: member.state,
        for_ms: member.for_ms,
        why: &member.why,
        waiting: member.waiting.as_ref(),
        stuck: &stuck,
    };
    output.show(&document, || {
        let mut text = format!("{}\n", text::line(&member.why));
        text.extend(stuck.iter().map(|line| format!("{line}\n")));
        text
    })?;
    Ok(ExitCode::SUCCESS)
}
