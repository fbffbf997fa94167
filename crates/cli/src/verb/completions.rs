//! `completions`: prints the completion script of a shell. The script runs this program at each Tab, with the variable
//! [`VARIABLE`] set; `main` then calls [`answer`] instead of running a verb.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};
use serde::Serialize;

use crate::args::Cli;
use crate::error::Failure;
use crate::output::Output;

/// Set by the completion scripts, to the name of the shell.
const VARIABLE: &str = "AGENT_TEAM_COMPLETE";

const PROGRAM: &str = "agent-team";

/// When zsh autoloads the script, it runs the script as the first call of the completion function. This line makes that
/// call complete, too.
const ZSH_AUTOLOAD: &str =
    "\n[[ $funcstack[1] = _agent-team ]] && _clap_dynamic_completer_agent_team \"$@\"\n";

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CompletionScript {
    shell: String,
    script: String,
}

pub(super) fn run(output: Output, shell: Shell) -> Result<ExitCode, Failure> {
    let script = script(shell);
    let document = CompletionScript {
        shell: shell.to_string(),
        script: script.map_err(|error| Failure::io("cannot write the script", &error))?,
    };
    output.show(&document, || document.script.clone())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the candidates if a completion script started the program; returns whether a script did.
pub(crate) fn answer() -> Result<bool, clap::Error> {
    let here = std::env::current_dir().ok();
    CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .bin(PROGRAM)
        .completer(PROGRAM)
        .try_complete(std::env::args_os(), here.as_deref())
}

/// The completion script of a shell.
fn script(shell: Shell) -> io::Result<String> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let completer = shells.completer(&shell.to_string());
    let completer = completer.ok_or_else(|| io::Error::other("unknown shell"))?;
    completer.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    if shell == Shell::Zsh {
        script.write_all(ZSH_AUTOLOAD.as_bytes())?;
    }
    String::from_utf8(script).map_err(io::Error::other)
}
