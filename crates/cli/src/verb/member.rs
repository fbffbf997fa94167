//! `stop`, `kill`, `restart`, `compact` and `member remove`.

use std::process::ExitCode;

use agent_team_protocol::MemberName;
use agent_team_protocol::method::{
    MemberAnswer, MemberCompact, MemberKill, MemberRemove, MemberRestart, MemberStop, Method,
    OneMember, RemoveMember, Stop,
};
use agent_team_protocol::view::{MemberView, TeamState};

use crate::args::Global;
use crate::error::Failure;
use crate::output::{Output, text};

pub(super) async fn stop(
    global: &Global,
    output: Output,
    member: MemberName,
    force: bool,
) -> Result<ExitCode, Failure> {
    let what = to_stop(&member);
    let answer = call::<MemberStop>(global, output, &what, Stop { member, force }).await?;
    show(output, &answer, "stopped")
}

pub(super) async fn kill(
    global: &Global,
    output: Output,
    member: MemberName,
) -> Result<ExitCode, Failure> {
    let what = format!("the processes of {member} to exit");
    let answer = call::<MemberKill>(global, output, &what, OneMember { member }).await?;
    show(output, &answer, "killed")
}

pub(super) async fn restart(
    global: &Global,
    output: Output,
    member: MemberName,
) -> Result<ExitCode, Failure> {
    let what = format!("{member} to stop and start");
    let answer = call::<MemberRestart>(global, output, &what, OneMember { member }).await?;
    show_started(output, &answer, "restarted")
}

pub(super) async fn compact(
    global: &Global,
    output: Output,
    member: MemberName,
) -> Result<ExitCode, Failure> {
    let mut session = global.session()?;
    let answer = session.call::<MemberCompact>(OneMember { member }).await?;
    output.show(&answer, || {
        let name = &answer.member.name;
        format!("{name} compacts its conversation before its next step\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn remove(
    global: &Global,
    output: Output,
    member: MemberName,
    force: bool,
) -> Result<ExitCode, Failure> {
    let what = to_stop(&member);
    let remove = RemoveMember { member, force };
    let answer = call::<MemberRemove>(global, output, &what, remove).await?;
    output.show(&answer, || format!("{} has left the team\n", answer.member))?;
    Ok(ExitCode::SUCCESS)
}

fn to_stop(member: &MemberName) -> String {
    format!("{member} to stop (agent-team kill {member} kills it at once)")
}

/// Makes the call. After a second, prints that the command waits for `what`.
async fn call<M: Method<Args: Clone>>(
    global: &Global,
    output: Output,
    what: &str,
    args: M::Args,
) -> Result<M::Answer, Failure> {
    let mut session = global.session()?;
    let answer = session.call::<M>(args);
    Ok(output.waiting_for(what, answer).await?)
}

/// Prints `done` and the pid of the member. If the member has no process, prints its state. `done` is as for
/// [`show`].
pub(super) fn show_started(
    output: Output,
    answer: &MemberAnswer,
    done: &str,
) -> Result<ExitCode, Failure> {
    let MemberView { name, pid, .. } = &answer.member;
    let Some(pid) = pid else {
        return show(output, answer, done);
    };
    output.show(answer, || format!("{name} {done} (pid {pid})\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the new state of the member. If it was the last member, also prints that the team is down. `done` is the past
/// participle of the verb, such as `stopped`.
pub(super) fn show(output: Output, answer: &MemberAnswer, done: &str) -> Result<ExitCode, Failure> {
    output.show(answer, || {
        let mut text = format!("{}\n", text::line(&answer.member.why));
        if answer.team == Some(TeamState::Down) {
            text.push_str(&format!(
                "the team is down: its last member was {done}; start it with: agent-team up\n"
            ));
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}
