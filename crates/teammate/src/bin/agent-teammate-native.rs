//! `agent-teammate-native`: see [`agent_team_teammate::program::native`].

use std::process::ExitCode;

fn main() -> ExitCode {
    agent_team_teammate::program::native::main()
}
