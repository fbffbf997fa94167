//! `attach`: shows the team's layout, or one member's pane, in this terminal, by becoming the program that does. Members
//! without a pane are shown by [`crate::hosted`].

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use agent_team_protocol::MemberName;
use agent_team_protocol::method::{Attach, AttachAnswer, Nothing, TeamAttach, TeamShow};
use agent_team_protocol::view::{MemberView, Placement};

use crate::args::Global;
use crate::error::Failure;
use crate::hosted;
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
    let answer = match ask(&mut session, member.clone(), read_only).await {
        Ok(answer) => answer,
        Err(refused) => {
            let can_show = !output.is_json() && is_terminal();
            if can_show
                && has_none(&mut session, member.as_ref())
                    .await
                    .unwrap_or(false)
            {
                return hosted::run(session, member.as_ref(), read_only).await;
            }
            return Err(refused);
        }
    };
    if output.is_json() {
        output.show(&answer, String::new)?;
        return Ok(ExitCode::SUCCESS);
    }
    become_it(answer)
}

/// Whether there is no terminal that this member, or anybody, could be seen in. A process of its own can be lent one.
async fn has_none(session: &mut Session, member: Option<&MemberName>) -> Result<bool, Failure> {
    let team = session.ask::<TeamShow>(Nothing {}).await?;
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
