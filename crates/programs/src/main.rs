//! The four programs in one file. `cargo xtask install` and `cargo xtask dist` install this file under the four names,
//! as hard links: the programs share most of their code, so one file is much smaller than four.
//!
//! The name by which the file is started selects the program. Symbolic links are not resolved: `/proc/self/exe` and
//! `argv[0]` of a hard link contain the name of this link, so each program finds the others beside itself.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use agent_team_protocol::exit::ExitCode as Exit;
use agent_team_protocol::text::visible_line;
use agent_team_teammate::program::{command, native};

type Main = fn() -> ExitCode;

const PROGRAMS: [(&str, Main); 4] = [
    ("agent-team", agent_team_cli::main),
    ("agent-teamd", agent_team_supervisor::main),
    ("agent-teammate", command::main),
    ("agent-teammate-native", native::main),
];

fn main() -> ExitCode {
    // Without any argument, not even `argv[0]`, this process is `agent-team`.
    let started_as = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&started_as).file_name();
    let name = name.unwrap_or(OsStr::new("agent-team"));
    match PROGRAMS.iter().find(|(known, _)| name == *known) {
        Some((_, run)) => run(),
        None => unknown(name),
    }
}

fn unknown(name: &OsStr) -> ExitCode {
    let name = name.to_string_lossy();
    let [team, supervisor, command, native] = PROGRAMS.map(|(name, _)| name);
    let _no_stderr = writeln!(
        std::io::stderr(),
        "error: cannot run {}: the names of this program are {team}, {supervisor}, {command} and {native}\n\
         hint: run {team} help",
        visible_line(&name)
    );
    Exit::Usage.into()
}
