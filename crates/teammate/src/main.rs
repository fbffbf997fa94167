//! `agent-teammate --launch FILE`: started by the supervisor, as a pane's own command or without a terminal.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use agent_team_protocol::exit::ExitCode as Exit;
use agent_team_protocol::initialize::BUILD;
use agent_team_protocol::with_causes;
use agent_team_teammate::Ran;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.iter().map(OsString::as_os_str).collect::<Vec<_>>()[..] {
        [flag, file] if flag == "--launch" => launch(Path::new(file)),
        [flag] if flag == "--version" => {
            say(&mut std::io::stdout(), BUILD);
            Exit::Done.into()
        }
        _ => {
            complain("usage: agent-teammate --launch FILE (the supervisor starts it)");
            Exit::Usage.into()
        }
    }
}

fn launch(file: &Path) -> ExitCode {
    match agent_team_teammate::run(file) {
        Ok(Ran::Exited(code)) => code.into(),
        Ok(Ran::NotOurs) => {
            let name = file.file_name().unwrap_or(OsStr::new("the launch"));
            let name = name.display();
            complain(&format!(
                "{name} was taken by another process: nothing to do"
            ));
            Exit::Done.into()
        }
        Err(error) => {
            complain(&with_causes(&error));
            Exit::Usage.into()
        }
    }
}

fn complain(text: &str) {
    say(&mut std::io::stderr(), &format!("agent-teammate: {text}"));
}

/// Unlike `print!`, a terminal that has gone does not end us with a panic.
fn say(to: &mut impl Write, text: &str) {
    let _gone = writeln!(to, "{text}");
}
