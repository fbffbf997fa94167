//! `agent-teamd --placements`: reports which placements are available to members, and which one `auto` chooses. Called by
//! `agent-team doctor`, which does not link the terminal backends. `agent-teamd --placements` neither starts nor contacts a
//! supervisor.

use std::io::{self, Write};

use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::placement::CallerTerminal;
use agent_team_system::directories::Directories;
use anyhow::Context;

use crate::launch::backend;

/// Reads the description of the caller's terminal as JSON from stdin, and prints a JSON list of reports. Returns the
/// exit code.
pub(crate) fn report_backends() -> u8 {
    match report() {
        Ok(()) => ExitCode::Done as u8,
        Err(error) => {
            let _no_stderr = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::Failed as u8
        }
    }
}

fn report() -> anyhow::Result<()> {
    let terminal: CallerTerminal = serde_json::from_reader(io::stdin())
        .context("cannot read the terminal's description from stdin")?;
    let directories = Directories::from_environment()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let reports = runtime.block_on(backend::reports(&terminal, &directories));
    writeln!(io::stdout(), "{}", serde_json::to_string(&reports)?)?;
    Ok(())
}
