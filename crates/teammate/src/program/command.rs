//! `agent-teammate`: the worker of a member with the command engine.
//!
//! `--hold`, `--attach` and `--watch`, each with `SOCKET TEAM LAUNCH`, run the attach helper, which lends this terminal
//! to a member of any engine. `--hold` lends the terminal as the member's pane, `--attach` for the user's input, and
//! `--watch` read-only.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use super::{done, worker};
use crate::{attach_helper, run_tasks};
use agent_team_protocol::engine::Engine;
use agent_team_protocol::notification::Attachment;
use agent_team_protocol::{TeamId, with_causes};

/// Runs `agent-teammate` with the arguments of this process.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match lend_arguments(&args) {
        Some((attachment, [socket, team, launch])) => {
            done(Engine::Command, lend(attachment, socket, team, launch))
        }
        Some(_) | None => worker(Engine::Command, run_tasks),
    }
}

fn lend_arguments(args: &[OsString]) -> Option<(Attachment, &[OsString])> {
    let (flag, rest) = args.split_first()?;
    let attachment = match flag.to_str()? {
        "--hold" => Attachment::Pane,
        "--attach" => Attachment::Attached,
        "--watch" => Attachment::ReadOnly,
        _ => return None,
    };
    Some((attachment, rest))
}

fn lend(
    attachment: Attachment,
    socket: &OsStr,
    team: &OsStr,
    launch: &OsStr,
) -> Result<(), String> {
    let team = team.to_str().and_then(TeamId::from_directory_name);
    let team = team.ok_or("invalid team id")?;
    let launch = launch.to_str().and_then(|launch| launch.parse().ok());
    let launch = launch.ok_or("invalid launch id")?;
    attach_helper::run(attachment, Path::new(socket), team, launch)
        .map_err(|error| with_causes(&error))
}
