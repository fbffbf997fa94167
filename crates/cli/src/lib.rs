//! `agent-team`, the command line. Parses the arguments, runs the verb and returns the exit code.
//!
//! The program of this crate and `agent-team-programs` call [`main`]. Only this file prints errors, including panics
//! and the errors of clap.

mod args;
mod caller;
mod complete;
mod detach;
mod error;
mod log;
mod output;
#[cfg(test)]
mod reference;
mod secrets;
mod single_terminal;
mod terminal;
mod top;
mod verb;

use std::borrow::Cow;
use std::io::Write;
use std::panic;
use std::process::ExitCode;

use agent_team_protocol::ErrorCode;
use agent_team_protocol::text::visible;
use agent_team_terminal_ui::style::{THEME, Theme};
use clap::Parser;
use clap::error::{ContextKind, ContextValue};

use args::{Cli, Color};
use error::Failure;

/// Runs `agent-team` with the arguments of this process.
pub fn main() -> ExitCode {
    panic::set_hook(Box::new(|panic| {
        terminal::restore();
        Failure::bug(panic.to_string()).print(wants_json());
    }));
    panic::catch_unwind(run)
        .unwrap_or_else(|_printed| agent_team_protocol::exit::ExitCode::Bug.into())
}

fn run() -> ExitCode {
    match verb::completions::answer() {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => return report_clap_error(&error),
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(mut error) => {
            drop_dangerous_suggestion(&mut error);
            return report_clap_error(&error);
        }
    };
    choose_colour(cli.global.color);
    let json = cli.global.json;
    if let Err(failure) = choose_theme() {
        failure.print(json);
        return failure.exit().into();
    }
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start the async runtime", &error))
        .and_then(|runtime| runtime.block_on(verb::run(cli)));
    result.unwrap_or_else(|failure| {
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

fn choose_theme() -> Result<(), Failure> {
    // The theme ignores NO_COLOR: anstream reads the variable, and `--color always` overrides it.
    let variable = |name: &str| {
        let value = std::env::var(name).ok();
        value.filter(|_| name != "NO_COLOR")
    };
    let theme = Theme::of_environment(variable).map_err(|value| {
        let problem = format!("{THEME} cannot be {value:?}");
        Failure::of(ErrorCode::Invalid, &problem)
            .hint(format!("set {THEME} to auto, dark, light or none"))
    })?;
    output::style::set_theme(theme);
    Ok(())
}

/// Removes the suggestion of `--bypass`: an error about a misspelt option must not suggest a run without permission
/// checks.
fn drop_dangerous_suggestion(error: &mut clap::Error) {
    let suggested = error.get(ContextKind::SuggestedArg);
    if suggested == Some(&ContextValue::String("--bypass".to_owned())) {
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::Usage);
    }
}

/// Prints a usage error, the help or the version. With `--json` among the arguments, a usage error is JSON.
fn report_clap_error(error: &clap::Error) -> ExitCode {
    if wants_json() && error.use_stderr() {
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        Failure::of(ErrorCode::Invalid, message)
            .hint("run agent-team help")
            .print(true);
    } else {
        // When the output is closed, no channel is left to report that.
        let _gone = match visible(&error.render().to_string()) {
            Cow::Borrowed(_) => error.print(),
            // The message repeats the arguments, and these contain control characters.
            Cow::Owned(escaped) => std::io::stderr().write_all(escaped.as_bytes()),
        };
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Whether `--json` is among the arguments, even if the arguments do not parse.
fn wants_json() -> bool {
    let mut options = std::env::args_os().take_while(|arg| arg != "--");
    options.any(|arg| arg == "--json")
}
