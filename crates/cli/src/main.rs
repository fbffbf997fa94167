//! `agent-team`, the command line: reads what was typed, hands it to the verb of that name, and ends with its exit code.

mod args;
mod error;
mod output;
mod session;
mod team_file;
mod verb;

use std::panic;
use std::process::ExitCode;

use agent_team_protocol::ErrorCode;
use clap::Parser;

use args::{Cli, Color};
use error::Failure;

fn main() -> ExitCode {
    panic::set_hook(Box::new(|panic| {
        let failure = Failure::new(
            "bug",
            agent_team_protocol::exit::ExitCode::Bug,
            panic.to_string(),
        );
        failure
            .hint("this is a bug of agent-team: please report it with the line above")
            .print(false);
    }));
    panic::catch_unwind(run).unwrap_or_else(|_told| agent_team_protocol::exit::ExitCode::Bug.into())
}

fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error),
    };
    choose_colour(cli.global.color);
    let json = cli.global.json;
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("the runtime cannot be started", &error))
        .and_then(|runtime| runtime.block_on(verb::run(cli)));
    ended.unwrap_or_else(|failure| {
        failure.print(json);
        failure.exit().into()
    })
}

fn choose_colour(color: Color) {
    match color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// What was typed is no command, or asks for help. Also this is told as JSON where JSON was asked for.
fn not_understood(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os()
        .take_while(|arg| arg != "--")
        .any(|arg| arg == "--json");
    if json && error.use_stderr() {
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        Failure::of(ErrorCode::Invalid, message)
            .hint("see agent-team help")
            .print(json);
    } else {
        // Nobody is left to be told that the output is gone.
        let _gone = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
