//! `mode`: shows or changes the permission mode of the running team, or of one member.

use std::process::ExitCode;

use agent_team_protocol::document::ModesView;
use agent_team_protocol::method::{MemberShow, Nothing, OneMember, SetMode, TeamMode, TeamShow};
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::view::TeamView;
use agent_team_protocol::{ErrorCode, MemberName};
use agent_team_system::sandbox;

use crate::args::{Global, WantedMode};
use crate::error::Failure;
use crate::output::Output;

/// The modes through which `next` cycles. It skips `sandboxed` where no sandbox protects files of the project.
const CYCLE: [Mode; 4] = [
    Mode::Default,
    Mode::AcceptEdits,
    Mode::Sandboxed,
    Mode::Plan,
];

pub(super) async fn run(
    global: &Global,
    output: Output,
    wanted: Option<WantedMode>,
    member: Option<MemberName>,
) -> Result<ExitCode, Failure> {
    let mut session = global.session()?;
    let member = match member {
        // The supervisor finds the member, also as `lead`, and suggests a similar name.
        Some(member) => {
            let shown = session.query::<MemberShow>(OneMember { member }).await?;
            Some(shown.member)
        }
        None => None,
    };
    let team = session.query::<TeamShow>(Nothing {}).await?;
    let now = member.as_ref().and_then(|member| member.mode).or(team.mode);
    let member = member.map(|member| member.name);
    let wanted = match wanted {
        None => return show(output, &team, member.as_ref()),
        Some(WantedMode::Next) => next(now.unwrap_or_default()).await,
        Some(WantedMode::Mode(mode)) => mode,
    };
    check_sandbox(wanted).await?;
    let set = SetMode {
        member: member.clone(),
        mode: wanted,
    };
    session.call::<TeamMode>(set).await?;
    let team = session.query::<TeamShow>(Nothing {}).await?;
    show(output, &team, member.as_ref())
}

fn show(output: Output, team: &TeamView, member: Option<&MemberName>) -> Result<ExitCode, Failure> {
    let document = ModesView::of(team);
    output.show(&document, || match member {
        Some(name) => match document.members.get(name).copied().or(team.mode) {
            Some(mode) => format!("{name} is in mode {mode}: {}\n", effect(mode)),
            None => NEVER_UP.to_owned(),
        },
        None => text(&document),
    })?;
    Ok(ExitCode::SUCCESS)
}

const NEVER_UP: &str = "the team was never brought up\n";

fn text(modes: &ModesView<'_>) -> String {
    let Some(mode) = modes.mode else {
        return NEVER_UP.to_owned();
    };
    let mut text = format!("mode {mode}: {}\n", effect(mode));
    for (name, mode) in &modes.members {
        text.push_str(&format!("{name} is in mode {mode}: {}\n", effect(*mode)));
    }
    text
}

/// The effect of a mode on agents, as a text for the user.
pub(super) fn effect(mode: Mode) -> &'static str {
    match mode {
        Mode::Plan => "agents read and change nothing",
        Mode::DontAsk => "agents read and do what rules allow; everything else is denied",
        Mode::Default => "agents read; everything else needs a rule or a decision",
        Mode::AcceptEdits => "agents change files of the project without asking",
        Mode::Sandboxed => {
            "agents change files of the project and run commands in the sandbox without asking"
        }
        Mode::Bypass => "agents ask nothing, and their commands run outside the sandbox",
    }
}

/// The mode after this one.
async fn next(mode: Mode) -> Mode {
    let at = CYCLE.iter().position(|known| *known == mode);
    let next = at.map_or(Mode::Default, |at| CYCLE[(at + 1) % CYCLE.len()]);
    match next == Mode::Sandboxed && check_sandbox(next).await.is_err() {
        true => Mode::Plan,
        false => next,
    }
}

/// Refuses mode sandboxed where no sandbox protects files of the project. The supervisor does not rely on this check: a
/// command that no sandbox contains needs a decision in every mode.
pub(super) async fn check_sandbox(mode: Mode) -> Result<(), Failure> {
    if mode != Mode::Sandboxed {
        return Ok(());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let why = match sandbox::find(&path).await {
        Ok(sandbox) if sandbox.protects() => return Ok(()),
        Ok(sandbox) => format!("files of the project are not protected by {sandbox}"),
        Err(none) => format!("no sandbox works here: {none}"),
    };
    let text = format!("cannot use mode sandboxed: {why}");
    let hint =
        "install bubblewrap and check it with agent-team doctor, or use: --mode accept-edits";
    Err(Failure::of(ErrorCode::WrongState, text).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn next_returns_to_the_default_mode() {
        let mut mode = Mode::Default;
        let mut seen = Vec::new();
        for _ in 0..CYCLE.len() {
            mode = next(mode).await;
            seen.push(mode);
            if mode == Mode::Default {
                break;
            }
        }
        assert_eq!(seen.last(), Some(&Mode::Default), "{seen:?}");
        assert_eq!(seen[0], Mode::AcceptEdits);
        assert!(seen.contains(&Mode::Plan) && !seen.contains(&Mode::Bypass));
        assert_eq!(next(Mode::DontAsk).await, Mode::Default);
    }
}
