//! `stop`, `kill` and `restart`: one member's life.

use std::process::ExitCode;

use agent_team_protocol::MemberName;
use agent_team_protocol::method::{MemberAnswer, MemberKill, MemberRestart, MemberStop, OneMember};

use crate::args::Global;
use crate::error::Failure;
use crate::output::{Output, text};
use crate::session::Session;

pub(super) async fn stop(
    global: &Global,
    output: Output,
    member: MemberName,
) -> Result<ExitCode, Failure> {
    let answer = Session::of_team(global)?
        .call::<MemberStop>(OneMember { member })
        .await?;
    show(output, &answer)
}

pub(super) async fn kill(
    global: &Global,
    output: Output,
    member: MemberName,
) -> Result<ExitCode, Failure> {
    let answer = Session::of_team(global)?
        .call::<MemberKill>(OneMember { member })
        .await?;
    show(output, &answer)
}

pub(super) async fn restart(
    global: &Global,
    output: Output,
    member: MemberName,
) -> Result<ExitCode, Failure> {
    let answer = Session::of_team(global)?
        .call::<MemberRestart>(OneMember { member })
        .await?;
    show(output, &answer)
}

/// What became of the member.
pub(super) fn show(output: Output, answer: &MemberAnswer) -> Result<ExitCode, Failure> {
    output.show(answer, || format!("{}\n", text::line(&answer.member.why)))?;
    Ok(ExitCode::SUCCESS)
}
