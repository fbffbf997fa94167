//! The worker of a member that thinks: with HTTP, TLS and search, which no other program carries.

use std::process::ExitCode;

use agent_team_protocol::spec::Engine;
use agent_team_teammate::{program, run_agent};

fn main() -> ExitCode {
    program::main(Engine::Native, run_agent)
}
