//! `agent-teammate`: see [`agent_team_teammate::program::command`].

use std::process::ExitCode;

fn main() -> ExitCode {
    agent_team_teammate::program::command::main()
}
