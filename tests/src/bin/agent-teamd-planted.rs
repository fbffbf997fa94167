//! `agent-teamd-planted FAULT …`: the supervisor with a planted fault that a checker of the torture must find, or with
//! a failpoint at which it crashes: `crash-at=committed:3`. The rig runs this program instead of `agent-teamd`. The
//! program is never shipped.
#![expect(clippy::print_stderr, reason = "a command's output is its purpose")]

use std::process::ExitCode;

use agent_team_system::planted::{self, Plant};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let fault = arguments.next().unwrap_or_default();
    let planted = match fault.strip_prefix("crash-at=") {
        Some(point) => agent_team_supervisor::crash_at(point),
        None => Plant::named(&fault).is_some_and(planted::plant),
    };
    if !planted {
        let known = Plant::ALL.map(Plant::name).join("|");
        eprintln!("usage: agent-teamd-planted {known}|crash-at=POINT:N [--foreground]");
        eprintln!(
            "cannot plant {fault:?}: it is unknown, or this is a release build, which contains no faults"
        );
        return ExitCode::from(2);
    }
    let foreground = arguments.next().as_deref() == Some("--foreground");
    ExitCode::from(agent_team_supervisor::run(foreground))
}
