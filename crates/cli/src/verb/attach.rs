//! `attach`: shows the team's layout or one member's pane in this terminal. It execs the program that the supervisor
//! names, such as `tmux attach`. Members without a pane are shown by [`crate::single_terminal`].

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use agent_team_client::Session;
use agent_team_protocol::MemberName;
use agent_team_protocol::method::{Attach, AttachAnswer, Nothing, TeamAttach, TeamShow};
use agent_team_protocol::placement::Placement;
use agent_team_protocol::view::MemberView;

use crate::args::Global;
use crate::caller;
use crate::error::Failure;
use crate::output::Output;
use crate::single_terminal;

pub(super) async fn run(
    global: &Global,
    output: Output,
    member: Option<MemberName>,
    read_only: bool,
) -> Result<ExitCode, Failure> {
    // The supervisor itself switches a terminal that shows the panes; stdin and stdout need not be a terminal then.
    if !output.is_json() && !caller::is_terminal() && !caller::terminal().shows_panes() {
        return Err(no_terminal());
    }
    let mut session = global.session()?;
    let answer = match request_attach(&mut session, member.clone(), read_only).await {
        Ok(answer) => answer,
        Err(refused) => {
            let can_show = !output.is_json() && caller::is_terminal();
            if can_show
                && is_without_panes(&mut session, member.as_ref())
                    .await
                    .unwrap_or(false)
            {
                return single_terminal::run(session, member.as_ref(), read_only).await;
            }
            return Err(refused);
        }
    };
    if output.is_json() {
        output.show(&answer, String::new)?;
        return Ok(ExitCode::SUCCESS);
    }
    exec_viewer(answer)
}

/// Whether the reason for a refusal is that there are no panes: this member is hosted or, without a member, no running
/// member's placement has panes. A member with its own process needs no pane: the terminal can be lent to it.
async fn is_without_panes(
    session: &mut Session,
    member: Option<&MemberName>,
) -> Result<bool, Failure> {
    let team = session.query::<TeamShow>(Nothing {}).await?;
    Ok(match member {
        Some(member) => {
            let is_hosted =
                |view: &MemberView| view.name == *member && view.placement == Placement::Hosted;
            team.members.iter().any(is_hosted)
        }
        None => {
            let mut living = team
                .members
                .iter()
                .filter(|view| view.pid.is_some())
                .peekable();
            living.peek().is_some() && living.all(|view| !view.placement.has_panes())
        }
    })
}

/// Shows the pane of one member. Called by `next`.
pub(super) async fn member(session: &mut Session, member: MemberName) -> Result<ExitCode, Failure> {
    exec_viewer(request_attach(session, Some(member), false).await?)
}

/// Shows the layout of the team. Called by `up`.
pub(super) async fn whole_team(session: &mut Session) -> Result<ExitCode, Failure> {
    exec_viewer(request_attach(session, None, false).await?)
}

async fn request_attach(
    session: &mut Session,
    member: Option<MemberName>,
    read_only: bool,
) -> Result<AttachAnswer, Failure> {
    let attach = Attach {
        member,
        read_only,
        terminal: caller::terminal(),
    };
    Ok(session.call::<TeamAttach>(attach).await?)
}

fn exec_viewer(answer: AttachAnswer) -> Result<ExitCode, Failure> {
    let AttachAnswer { argv, unset } = answer;
    let Some((program, arguments)) = argv.split_first() else {
        // The supervisor has switched the caller's terminal.
        return Ok(ExitCode::SUCCESS);
    };
    if !caller::is_terminal() {
        return Err(no_terminal());
    }
    let mut command = Command::new(program);
    command.args(arguments);
    for variable in unset {
        command.env_remove(variable);
    }
    let error = command.exec();
    Err(Failure::io(format!("cannot run {program}"), &error))
}

fn no_terminal() -> Failure {
    Failure::new(
        "not_a_terminal",
        agent_team_protocol::exit::ExitCode::Refused,
        "cannot attach: stdin or stdout is not a terminal",
    )
    .hint("run it in a terminal, or follow the output with: agent-team logs MEMBER -f")
}
