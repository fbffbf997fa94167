//! `agent-teamd`: see [`agent_team_supervisor::main`].

use std::process::ExitCode;

fn main() -> ExitCode {
    agent_team_supervisor::main()
}
