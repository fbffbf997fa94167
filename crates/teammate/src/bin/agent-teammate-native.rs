//! The worker of a member with the native engine. The only program that links HTTP, TLS and search.
//!
//! `--model` reads an agent from stdin and prints the model that the agent would use, both as JSON; `agent-team doctor`
//! runs this command. `--host` hosts members of any engine in one process.

use std::ffi::OsStr;
use std::process::ExitCode;

use agent_team_protocol::engine::Engine;
use agent_team_protocol::with_causes;
use agent_team_teammate::{explain_model, host, program, run_agent};

fn main() -> ExitCode {
    if std::env::args_os().nth(1).as_deref() == Some(OsStr::new("--model")) {
        let request = std::io::read_to_string(std::io::stdin().lock());
        let explained = request.map_err(|error| error.to_string());
        return program::answer(
            Engine::Native,
            explained.and_then(|request| explain_model(&request)),
        );
    }
    if std::env::args_os().nth(1).as_deref() == Some(OsStr::new("--host")) {
        let hosted = host::host();
        return program::done(Engine::Native, hosted.map_err(|error| with_causes(&error)));
    }
    program::main(Engine::Native, run_agent)
}
