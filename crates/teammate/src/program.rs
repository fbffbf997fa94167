//! The common `main` of the worker programs in `bin/`: `PROGRAM --launch FILE`. The supervisor starts them, as a pane's
//! command or without a terminal. With `--launch`, the programs differ only in the engines that they link.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use agent_team_protocol::engine::Engine;
use agent_team_protocol::exit::ExitCode as Exit;
use agent_team_protocol::initialize::BUILD;
use agent_team_protocol::with_causes;

use crate::{RunError, RunOutcome};

/// Runs a worker program of `engine` with the arguments of this process. `run` runs the worker.
pub fn main(engine: Engine, run: fn(&Path) -> Result<RunOutcome, RunError>) -> ExitCode {
    let name = engine.worker();
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.iter().map(OsString::as_os_str).collect::<Vec<_>>()[..] {
        [flag, file] if flag == "--launch" => ended(name, run(Path::new(file)), Path::new(file)),
        [flag] if flag == "--version" => {
            print_to(&mut std::io::stdout(), BUILD);
            Exit::Done.into()
        }
        _ => {
            print_error(
                name,
                &format!("usage: {name} --launch FILE (the supervisor starts it)"),
            );
            Exit::Usage.into()
        }
    }
}

/// Returns the exit code of a command without output. Prints the reason of a failure.
pub fn done(engine: Engine, done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => Exit::Done.into(),
        Err(why) => {
            print_error(engine.worker(), &why);
            Exit::Failed.into()
        }
    }
}

/// Prints an answer, or the reason of a failure. Returns the exit code.
pub fn answer(engine: Engine, answer: Result<String, String>) -> ExitCode {
    match answer {
        Ok(text) => {
            print_to(&mut std::io::stdout(), &text);
            Exit::Done.into()
        }
        Err(why) => {
            print_error(engine.worker(), &why);
            Exit::NotFound.into()
        }
    }
}

fn ended(name: &str, ran: Result<RunOutcome, RunError>, file: &Path) -> ExitCode {
    match ran {
        Ok(RunOutcome::Exited(code)) => code.into(),
        Ok(RunOutcome::NotOurs) => {
            let launch = file.file_name().unwrap_or(OsStr::new("the launch"));
            let launch = launch.display();
            print_error(
                name,
                &format!("{launch} was taken by another process, or withdrawn"),
            );
            Exit::Done.into()
        }
        Err(error) => {
            print_error(name, &with_causes(&error));
            Exit::Usage.into()
        }
    }
}

fn print_error(name: &str, text: &str) {
    print_to(&mut std::io::stderr(), &format!("{name}: {text}"));
}

/// Unlike `print!`, does not panic if the terminal is gone.
fn print_to(to: &mut impl Write, text: &str) {
    let _gone = writeln!(to, "{text}");
}
