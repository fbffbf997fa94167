//! The worker programs: `command` contains `agent-teammate`, `native` contains `agent-teammate-native`. The supervisor
//! starts a worker as `PROGRAM --launch FILE`, as a pane's command or without a terminal. With `--launch`, the programs
//! differ only in the engines that they run.

pub mod command;
pub mod native;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use agent_team_protocol::engine::Engine;
use agent_team_protocol::exit::ExitCode as Exit;
use agent_team_protocol::with_causes;

use crate::{RunError, RunOutcome};

/// Runs the worker program of `engine` with the arguments of this process. `run` runs the worker of a launch file.
fn worker(engine: Engine, run: fn(&Path) -> Result<RunOutcome, RunError>) -> ExitCode {
    let name = engine.worker();
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.iter().map(OsString::as_os_str).collect::<Vec<_>>()[..] {
        [flag, file] if flag == "--launch" => ended(name, run(Path::new(file)), Path::new(file)),
        [flag] if flag == "--version" => {
            let version = env!("CARGO_PKG_VERSION");
            print_to(&mut std::io::stdout(), &format!("{name} {version}"));
            Exit::Done.into()
        }
        _ => {
            print_error(
                name,
                &format!("usage: {name} --launch FILE; the supervisor starts this program"),
            );
            Exit::Usage.into()
        }
    }
}

/// Returns the exit code of a command without output. Prints the reason of a failure.
fn done(engine: Engine, done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => Exit::Done.into(),
        Err(why) => {
            print_error(engine.worker(), &why);
            Exit::Failed.into()
        }
    }
}

/// Prints an answer, or the reason of a failure. Returns the exit code.
fn answer(engine: Engine, answer: Result<String, String>) -> ExitCode {
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

/// Prints a line. Unlike `println!`, does not panic if the terminal is closed.
fn print_to(to: &mut impl Write, text: &str) {
    let _gone = writeln!(to, "{text}");
}
