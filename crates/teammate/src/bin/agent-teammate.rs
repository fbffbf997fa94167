//! The worker of a member that runs commands.

use std::process::ExitCode;

use agent_team_protocol::spec::Engine;
use agent_team_teammate::{program, run_commands};

fn main() -> ExitCode {
    program::main(Engine::Command, run_commands)
}
