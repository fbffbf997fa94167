//! `agent-team`: see the library of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent_team_cli::main()
}
