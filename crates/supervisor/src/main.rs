//! `agent-teamd`: the supervisor's process. Started by `agent-team`, not by users.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => ExitCode::from(agent_team_supervisor::run(false)),
        ["--foreground"] => ExitCode::from(agent_team_supervisor::run(true)),
        ["--places"] => ExitCode::from(agent_team_supervisor::report_backends()),
        ["--version"] => {
            let _no_stdout = writeln!(
                std::io::stdout(),
                "{}",
                agent_team_protocol::initialize::BUILD
            );
            ExitCode::SUCCESS
        }
        _ => {
            let usage = "usage: agent-teamd [--foreground | --places | --version]; agent-team starts it when needed";
            let _no_stderr = writeln!(std::io::stderr(), "error: {usage}");
            ExitCode::from(agent_team_protocol::exit::ExitCode::Usage as u8)
        }
    }
}
