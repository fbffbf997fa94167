//! `top`: the team on the whole screen. What it shows and does is in [`crate::top`].

use std::process::ExitCode;

use agent_team_system::terminal;

use crate::args::Global;
use crate::error::Failure;
use crate::output::Output;
use crate::session::is_terminal;
use crate::top;

/// Of a frame that is printed to no terminal.
const SIZE: (u16, u16) = (80, 24);

pub(super) async fn run(global: &Global, output: Output, once: bool) -> Result<ExitCode, Failure> {
    if output.is_json() {
        let document = top::document(global).await?;
        output.show(&document, String::new)?;
        return Ok(ExitCode::SUCCESS);
    }
    if once {
        let (columns, rows) = terminal::size(std::io::stdout()).unwrap_or(SIZE);
        output.write(&top::once(global, columns, rows).await?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !is_terminal() {
        let exit = agent_team_protocol::exit::ExitCode::Refused;
        let failure = Failure::new(
            "not_a_terminal",
            exit,
            "there is no terminal here to show it on",
        );
        return Err(failure.hint("agent-team ps says it once, and so does top --once"));
    }
    top::run(global).await
}
