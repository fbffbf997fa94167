//! `panes reopen`: opens new panes for members that lost theirs.

use std::process::ExitCode;

use agent_team_protocol::exit;
use agent_team_protocol::method::{PaneReopen, ReopenAnswer, ReopenPanes, Reopened};

use crate::args::{Global, PanesCommand};
use crate::error::Failure;
use crate::output::{Output, text};

pub(super) async fn run(
    global: &Global,
    output: Output,
    command: PanesCommand,
) -> Result<ExitCode, Failure> {
    let PanesCommand::Reopen { member } = command;
    let mut session = global.session()?;
    let reopened = session.call::<PaneReopen>(ReopenPanes { member });
    let answer = output.waiting_for("panes to open", reopened).await?;
    output.show(&answer, || text_of(&answer))?;
    let all = answer.panes.iter().all(|reopened| reopened.pane.is_some());
    Ok(match all {
        true => ExitCode::SUCCESS,
        false => exit::ExitCode::Failed.into(),
    })
}

fn text_of(answer: &ReopenAnswer) -> String {
    if answer.panes.is_empty() {
        return "no member has lost its pane\n".to_owned();
    }
    let line = |reopened: &Reopened| match &reopened.pane {
        Some(pane) => format!("{} is shown in {}\n", reopened.member, text::line(pane)),
        None => {
            let why = reopened.why.as_deref().unwrap_or("the reason is unknown");
            format!("{} has no pane: {}\n", reopened.member, text::line(why))
        }
    };
    answer.panes.iter().map(line).collect()
}
