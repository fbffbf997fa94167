//! `PROGRAM --launch FILE`: started by the supervisor, as a pane's own command or without a terminal. What the two
//! programs in `bin/` are but for the engine that they carry.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use agent_team_protocol::exit::ExitCode as Exit;
use agent_team_protocol::initialize::BUILD;
use agent_team_protocol::spec::Engine;
use agent_team_protocol::with_causes;

use crate::{Ran, RunError};

/// The whole program of the workers of `engine`, which `run` carries out.
pub fn main(engine: Engine, run: fn(&Path) -> Result<Ran, RunError>) -> ExitCode {
    let name = engine.worker();
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.iter().map(OsString::as_os_str).collect::<Vec<_>>()[..] {
        [flag, file] if flag == "--launch" => ended(name, run(Path::new(file)), Path::new(file)),
        [flag] if flag == "--version" => {
            say(&mut std::io::stdout(), BUILD);
            Exit::Done.into()
        }
        _ => {
            complain(
                name,
                &format!("usage: {name} --launch FILE (the supervisor starts it)"),
            );
            Exit::Usage.into()
        }
    }
}

/// Ends the program, or says why it did nothing.
pub fn done(engine: Engine, done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => Exit::Done.into(),
        Err(why) => {
            complain(engine.worker(), &why);
            Exit::Failed.into()
        }
    }
}

/// Prints what was asked for, or why there is none.
pub fn answer(engine: Engine, answer: Result<String, String>) -> ExitCode {
    match answer {
        Ok(text) => {
            say(&mut std::io::stdout(), &text);
            Exit::Done.into()
        }
        Err(why) => {
            complain(engine.worker(), &why);
            Exit::NotFound.into()
        }
    }
}

fn ended(name: &str, ran: Result<Ran, RunError>, file: &Path) -> ExitCode {
    match ran {
        Ok(Ran::Exited(code)) => code.into(),
        Ok(Ran::NotOurs) => {
            let launch = file.file_name().unwrap_or(OsStr::new("the launch"));
            let launch = launch.display();
            complain(
                name,
                &format!("{launch} was taken by another process: nothing to do"),
            );
            Exit::Done.into()
        }
        Err(error) => {
            complain(name, &with_causes(&error));
            Exit::Usage.into()
        }
    }
}

fn complain(name: &str, text: &str) {
    say(&mut std::io::stderr(), &format!("{name}: {text}"));
}

/// Unlike `print!`, a terminal that has gone does not end us with a panic.
fn say(to: &mut impl Write, text: &str) {
    let _gone = writeln!(to, "{text}");
}
