//! `down`: stops the team and prints a receipt for each process, pane and file.

use std::process::ExitCode;

use agent_team_protocol::method::{Down, TeamDown};

use crate::args::Global;
use crate::error::Failure;
use crate::output::{Output, receipt};

pub(super) async fn run(global: &Global, output: Output, force: bool) -> Result<ExitCode, Failure> {
    let mut session = global.session()?;
    let what = if force {
        "the processes of the members to exit"
    } else {
        "the members to stop (agent-team down --force kills them at once)"
    };
    let down = session.call::<TeamDown>(Down { force });
    let mut answer = output.waiting_for(what, down).await?;
    let exited = output.waiting_for("the supervisor to exit", session.release_supervisor());
    answer.receipts.extend(exited.await?);
    receipt::show(output, &answer).map(ExitCode::from)
}
