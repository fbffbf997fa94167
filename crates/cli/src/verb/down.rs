//! `down`: ends the team, and proves it.

use std::process::ExitCode;

use agent_team_protocol::method::{Down, TeamDown};

use crate::args::Global;
use crate::error::Failure;
use crate::output::{Output, receipt};
use crate::session::Session;

pub(super) async fn run(global: &Global, output: Output, force: bool) -> Result<ExitCode, Failure> {
    let mut session = Session::of_team(global)?;
    let what = if force {
        "the members' processes to end"
    } else {
        "the members to end by themselves (agent-team down --force ends them at once)"
    };
    let down = session.call::<TeamDown>(Down { force });
    let mut answer = output.waiting_for(what, down).await?;
    let gone = output.waiting_for("the supervisor to go", session.see_off());
    answer.receipts.extend(gone.await?);
    receipt::show(output, &answer).map(ExitCode::from)
}
