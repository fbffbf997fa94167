//! `stop`, `kill`, `restart` and `member remove`: one member's life.

use std::process::ExitCode;

use agent_team_protocol::MemberName;
use agent_team_protocol::method::{
    MemberAnswer, MemberKill, MemberRemove, MemberRestart, MemberStop, OneMember, RemoveMember,
    Stop,
};
use agent_team_protocol::view::TeamState;

use crate::args::Global;
use crate::error::Failure;
use crate::output::{Output, text};
use crate::session::Session;

pub(super) async fn stop(
    global: &Global,
    output: Output,
    member: MemberName,
    force: bool,
) -> Result<ExitCode, Failure> {
    let what = format!("{member} to end by itself (agent-team kill {member} ends it at once)");
    let mut session = Session::of_team(global)?;
    let stopped = session.call::<MemberStop>(Stop { member, force });
    let answer = output.waiting_for(&what, stopped).await?;
    show(output, &answer, "stopped")
}

pub(super) async fn kill(
    global: &Global,
    output: Output,
    member: MemberName,
) -> Result<ExitCode, Failure> {
    let what = format!("the processes of {member} to end");
    let mut session = Session::of_team(global)?;
    let killed = session.call::<MemberKill>(OneMember { member });
    let answer = output.waiting_for(&what, killed).await?;
    show(output, &answer, "killed")
}

pub(super) async fn restart(
    global: &Global,
    output: Output,
    member: MemberName,
) -> Result<ExitCode, Failure> {
    let what = format!("{member} to end and to start again");
    let mut session = Session::of_team(global)?;
    let restarted = session.call::<MemberRestart>(OneMember { member });
    let answer = output.waiting_for(&what, restarted).await?;
    show(output, &answer, "restarted")
}

pub(super) async fn remove(
    global: &Global,
    output: Output,
    member: MemberName,
    force: bool,
) -> Result<ExitCode, Failure> {
    let what = format!("{member} to end by itself (agent-team kill {member} ends it at once)");
    let mut session = Session::of_team(global)?;
    let removed = session.call::<MemberRemove>(RemoveMember { member, force });
    let answer = output.waiting_for(&what, removed).await?;
    output.show(&answer, || format!("{} has left the team\n", answer.member))?;
    Ok(ExitCode::SUCCESS)
}

/// What became of the member, and of a team that it was the last of. `done` is what was done to it.
pub(super) fn show(output: Output, answer: &MemberAnswer, done: &str) -> Result<ExitCode, Failure> {
    output.show(answer, || {
        let mut text = format!("{}\n", text::line(&answer.member.why));
        if answer.team == Some(TeamState::Down) {
            text.push_str(&format!(
                "the team is down: its last member was {done}; agent-team up brings it back\n"
            ));
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}
