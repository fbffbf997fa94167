//! `agent-teammate-native`: the worker of a member with the native engine. The only program that uses HTTP, TLS and
//! search.
//!
//! `--model` reads an agent from stdin and prints the model that the agent would use, both as JSON; `agent-team doctor`
//! runs this command. `--probe` starts the installed agents of other vendors and prints what they report, for
//! `agent-team doctor --clis`. `--models` prints the known models, and `--import-models` adds a list from stdin to them;
//! `agent-team models` runs these commands. `--host` hosts members of any engine in one process; `--mcp-host` runs the
//! shared MCP servers of a team. `--mcp SOCKET` connects an external agent to its team's tools, and `--hook SOCKET
//! PURPOSE` passes a call of its hooks to its worker.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use super::{answer, done, worker};
use crate::{
    connect_team_tools, explain_model, host, import_models, list_models, mcp_host, pass_hook_call,
    probe_agents, run_agent,
};
use agent_team_protocol::engine::Engine;
use agent_team_protocol::with_causes;

/// Runs `agent-teammate-native` with the arguments of this process.
pub fn main() -> ExitCode {
    let command = std::env::args_os().nth(1);
    let answered = match command.as_deref().and_then(OsStr::to_str) {
        Some("--model") => stdin().and_then(|agent| explain_model(&agent)),
        Some("--models") => list_models(),
        Some("--probe") => stdin().and_then(|arguments| probe_agents(&arguments)),
        Some("--import-models") => stdin().and_then(|list| import_models(&list)),
        Some("--host") => {
            let hosted = host::host();
            return done(Engine::Native, hosted.map_err(|error| with_causes(&error)));
        }
        Some("--mcp-host") => {
            let hosted = mcp_host::host();
            return done(Engine::Native, hosted.map_err(|error| with_causes(&error)));
        }
        Some("--mcp") => {
            let socket = std::env::args_os().nth(2).unwrap_or_default();
            return done(Engine::External, connect_team_tools(Path::new(&socket)));
        }
        Some("--hook") => {
            let mut arguments = std::env::args_os().skip(2);
            let socket = arguments.next().unwrap_or_default();
            let purpose = arguments.next().unwrap_or_default();
            return pass_hook_call(Path::new(&socket), &purpose.to_string_lossy());
        }
        Some(_) | None => return worker(Engine::Native, run_agent),
    };
    answer(Engine::Native, answered)
}

fn stdin() -> Result<String, String> {
    std::io::read_to_string(std::io::stdin().lock()).map_err(|error| error.to_string())
}
