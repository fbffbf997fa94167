//! `down`: ends the team, and proves it.

use std::process::ExitCode;

use agent_team_protocol::method::{Down, TeamDown};

use crate::args::Global;
use crate::error::Failure;
use crate::output::{Output, receipt};
use crate::session::Session;

pub(super) async fn run(global: &Global, output: Output, force: bool) -> Result<ExitCode, Failure> {
    let mut session = Session::of_team(global)?;
    let mut answer = session.call::<TeamDown>(Down { force }).await?;
    answer.receipts.extend(session.see_off().await?);
    receipt::show(output, &answer).map(ExitCode::from)
}
