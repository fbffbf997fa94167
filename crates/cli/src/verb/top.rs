//! `top`: the verb of the full-screen view, which is in [`crate::top`]. Handles `--json`, `--once` and a missing
//! terminal.

use std::process::ExitCode;

use agent_team_system::terminal;

use crate::args::Global;
use crate::caller;
use crate::error::Failure;
use crate::output::Output;
use crate::top;

/// Size of a frame when stdout is not a terminal.
const SIZE: (u16, u16) = (80, 24);

pub(super) async fn run(global: &Global, output: Output, once: bool) -> Result<ExitCode, Failure> {
    if output.is_json() {
        let snapshot = top::snapshot(global).await?;
        output.show(&snapshot, String::new)?;
        return Ok(ExitCode::SUCCESS);
    }
    if once {
        let (columns, rows) = terminal::size(std::io::stdout()).unwrap_or(SIZE);
        output.write(&top::once(global, columns, rows).await?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !caller::is_terminal() {
        let exit = agent_team_protocol::exit::ExitCode::Refused;
        let failure = Failure::new(
            "not_a_terminal",
            exit,
            "cannot show the team: stdin or stdout is not a terminal",
        );
        return Err(failure.hint("run agent-team ps or agent-team top --once"));
    }
    top::run(global).await
}
