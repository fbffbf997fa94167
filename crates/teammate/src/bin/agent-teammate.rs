//! The worker of a member that runs commands.
//!
//! `--hold`, `--attach` and `--watch SOCKET TEAM LAUNCH` lend this terminal to a member, whatever its engine: as its
//! pane, for a person to work in, or to look at.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use agent_team_protocol::notification::Hold;
use agent_team_protocol::spec::Engine;
use agent_team_protocol::{TeamId, with_causes};
use agent_team_teammate::{hold, program, run_commands};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match lends(&args) {
        Some((hold, [socket, team, launch])) => {
            program::done(Engine::Command, lend(hold, socket, team, launch))
        }
        Some(_) | None => program::main(Engine::Command, run_commands),
    }
}

fn lends(args: &[OsString]) -> Option<(Hold, &[OsString])> {
    let (flag, rest) = args.split_first()?;
    let hold = match flag.to_str()? {
        "--hold" => Hold::Pane,
        "--attach" => Hold::Attached,
        "--watch" => Hold::ReadOnly,
        _ => return None,
    };
    Some((hold, rest))
}

fn lend(lent: Hold, socket: &OsStr, team: &OsStr, launch: &OsStr) -> Result<(), String> {
    let team = team.to_str().and_then(TeamId::from_directory_name);
    let team = team.ok_or("this is no team's id")?;
    let launch = launch.to_str().and_then(|launch| launch.parse().ok());
    let launch = launch.ok_or("this is no launch's id")?;
    hold::hold(lent, Path::new(socket), team, launch).map_err(|error| with_causes(&error))
}
