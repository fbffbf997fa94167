//! The worker of a member with the native engine. The only program that links HTTP, TLS and search.
//!
//! `--model` reads an agent from stdin and prints the model that the agent would use, both as JSON; `agent-team doctor`
//! runs this command. `--models` prints the known models, and `--import-models` adds a list from stdin to them;
//! `agent-team models` runs these commands. `--host` hosts members of any engine in one process;
//! `--mcp-host` hosts the shared MCP servers of a team.

use std::ffi::OsStr;
use std::process::ExitCode;

use agent_team_protocol::engine::Engine;
use agent_team_protocol::with_causes;
use agent_team_teammate::{
    explain_model, host, import_models, list_models, mcp_host, program, run_agent,
};

fn main() -> ExitCode {
    let command = std::env::args_os().nth(1);
    let answer = match command.as_deref().and_then(OsStr::to_str) {
        Some("--model") => stdin().and_then(|agent| explain_model(&agent)),
        Some("--models") => list_models(),
        Some("--import-models") => stdin().and_then(|list| import_models(&list)),
        Some("--host") => {
            let hosted = host::host();
            return program::done(Engine::Native, hosted.map_err(|error| with_causes(&error)));
        }
        Some("--mcp-host") => {
            let hosted = mcp_host::host();
            return program::done(Engine::Native, hosted.map_err(|error| with_causes(&error)));
        }
        Some(_) | None => return program::main(Engine::Native, run_agent),
    };
    program::answer(Engine::Native, answer)
}

fn stdin() -> Result<String, String> {
    std::io::read_to_string(std::io::stdin().lock()).map_err(|error| error.to_string())
}
