//! `agent-team`, the command line: reads what was typed, hands it to the verb of that name, and ends with its exit code.

mod args;
mod error;
mod hosted;
mod log;
mod output;
mod secrets;
mod session;
mod terminal;
mod top;
mod verb;

use std::borrow::Cow;
use std::io::Write;
use std::panic;
use std::process::ExitCode;

use agent_team_protocol::ErrorCode;
use agent_team_protocol::text::visible;
use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use args::{Cli, Color};
use error::Failure;

fn main() -> ExitCode {
    panic::set_hook(Box::new(|panic| {
        terminal::restore();
        Failure::bug(panic.to_string()).print(wants_json());
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
    if let Some(verb) = later_verb(error) {
        let failure = Failure::not_carried_out(&format!("agent-team {verb}"));
        failure.print(wants_json());
        return failure.exit().into();
    }
    if wants_json() && error.use_stderr() {
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        Failure::of(ErrorCode::Invalid, message)
            .hint("see agent-team help")
            .print(true);
    } else {
        // Nobody is left to be told that the output is gone.
        let _gone = match visible(&error.render().to_string()) {
            Cow::Borrowed(_) => error.print(),
            // What was typed is repeated in it.
            Cow::Owned(harmless) => std::io::stderr().write_all(harmless.as_bytes()),
        };
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// The verb that was typed, if it is planned and this build does not carry it out.
fn later_verb(error: &clap::Error) -> Option<&str> {
    /// Each is a way to reach a team that README lists under "Limits".
    const LATER: [&str; 4] = ["acp", "mcp", "serve", "web"];
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(verb)) if LATER.contains(&verb.as_str()) => Some(verb),
        _ => None,
    }
}

/// Whether JSON was asked for, told without understanding the rest.
fn wants_json() -> bool {
    let mut options = std::env::args_os().take_while(|arg| arg != "--");
    options.any(|arg| arg == "--json")
}
