//! `completions`: prints the completion script of a shell.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::error::Failure;
use crate::output::Output;

pub(super) fn run(output: Output, shell: Shell) -> Result<ExitCode, Failure> {
    #[derive(serde::Serialize)]
    struct CompletionScript {
        shell: String,
        script: String,
    }
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "agent-team", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let document = CompletionScript {
        shell: shell.to_string(),
        script,
    };
    output.show(&document, || document.script.clone())?;
    Ok(ExitCode::SUCCESS)
}
