//! `agent-teamd-planted FAULT …`: the supervisor with a fault that a checker of the torture must find. The torture's
//! rig puts it in the place of `agent-teamd`; it is never shipped.
#![expect(clippy::print_stderr, reason = "a command's output is its purpose")]

use std::process::ExitCode;

use agent_team_system::planted::{self, Plant};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let fault = arguments.next().unwrap_or_default();
    let Some(fault) = Plant::named(&fault) else {
        let known = Plant::ALL.map(Plant::name).join("|");
        eprintln!("usage: agent-teamd-planted {known} [--foreground]");
        return ExitCode::from(2);
    };
    if !planted::plant(fault) {
        eprintln!("error: a release build contains no faults");
        return ExitCode::FAILURE;
    }
    let foreground = arguments.next().as_deref() == Some("--foreground");
    ExitCode::from(agent_team_supervisor::run(foreground))
}
