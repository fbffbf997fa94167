//! The `main` of `agent-teamd`, the supervisor's process. `agent-team` starts it, not the user.

use std::io::Write;
use std::process::ExitCode;

use agent_team_protocol::exit::ExitCode as Exit;

use crate::{backend_report, boot};

const NAME: &str = "agent-teamd";

/// Runs `agent-teamd` with the arguments of the command line.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => ExitCode::from(boot::run(false)),
        ["--foreground"] => ExitCode::from(boot::run(true)),
        ["--placements"] => ExitCode::from(backend_report::report_backends()),
        ["--version"] => {
            let version = env!("CARGO_PKG_VERSION");
            let _no_stdout = writeln!(std::io::stdout(), "{NAME} {version}");
            ExitCode::SUCCESS
        }
        _ => {
            let usage =
                "[--foreground | --placements | --version]; agent-team starts it when needed";
            let _no_stderr = writeln!(std::io::stderr(), "error: usage: {NAME} {usage}");
            ExitCode::from(Exit::Usage as u8)
        }
    }
}
