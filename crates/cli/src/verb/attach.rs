//! `attach`: shows the team's layout, or one member's pane, in this terminal, by becoming the program that does.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use agent_team_protocol::MemberName;
use agent_team_protocol::method::{Attach, AttachAnswer, TeamAttach};

use crate::args::Global;
use crate::error::Failure;
use crate::output::Output;
use crate::session::{Session, caller_terminal, is_terminal};

pub(super) async fn run(
    global: &Global,
    output: Output,
    member: Option<MemberName>,
    read_only: bool,
) -> Result<ExitCode, Failure> {
    // tmux and iTerm2 may show it by themselves, which needs no terminal of ours.
    let caller = caller_terminal();
    if !output.is_json() && !is_terminal() && caller.tmux.is_none() && caller.iterm.is_none() {
        return Err(no_terminal());
    }
    let mut session = Session::of_team(global)?;
    let answer = ask(&mut session, member, read_only).await?;
    if output.is_json() {
        output.show(&answer, String::new)?;
        return Ok(ExitCode::SUCCESS);
    }
    become_it(answer)
}

/// One member's pane.
pub(super) async fn member(session: &mut Session, member: MemberName) -> Result<ExitCode, Failure> {
    become_it(ask(session, Some(member), false).await?)
}

/// The team's layout, after `up`.
pub(super) async fn whole_team(session: &mut Session) -> Result<ExitCode, Failure> {
    become_it(ask(session, None, false).await?)
}

async fn ask(
    session: &mut Session,
    member: Option<MemberName>,
    read_only: bool,
) -> Result<AttachAnswer, Failure> {
    let attach = Attach {
        member,
        read_only,
        terminal: caller_terminal(),
    };
    session.call::<TeamAttach>(attach).await
}

fn become_it(answer: AttachAnswer) -> Result<ExitCode, Failure> {
    let AttachAnswer { argv, unset } = answer;
    let Some((program, arguments)) = argv.split_first() else {
        // The caller's tmux or iTerm2 shows it.
        return Ok(ExitCode::SUCCESS);
    };
    if !is_terminal() {
        return Err(no_terminal());
    }
    let mut command = Command::new(program);
    command.args(arguments);
    for variable in unset {
        command.env_remove(variable);
    }
    let error = command.exec();
    Err(Failure::io(format!("{program} cannot be run"), &error))
}

fn no_terminal() -> Failure {
    Failure::new(
        "not_a_terminal",
        agent_team_protocol::exit::ExitCode::Refused,
        "there is no terminal here to attach",
    )
    .hint("run it in a terminal, or look with: agent-team logs MEMBER -f")
}
