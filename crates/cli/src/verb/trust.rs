//! Whether the person trusts what a project's file would let pass or have run. Called before a team is started.
//!
//! The file comes with the project, whoever wrote it: until its digest was trusted it holds nobody's word. What was
//! trusted is remembered for the project, so that only a change of it is asked about again.

use std::io::{BufRead, Write};
use std::path::Path;

use agent_team_file::Widening;
use agent_team_protocol::TeamId;
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::text::visible_line;
use agent_team_system::directories::Directories;
use agent_team_system::{private_file, terminal};

use crate::error::Failure;
use crate::output::Output;

/// Goes on when nothing needs trust, or it is there: from before, typed, or given now.
pub(super) fn check(
    output: Output,
    widening: Option<&Widening>,
    team: &TeamId,
    typed: Option<&str>,
) -> Result<(), Failure> {
    let Some(widening) = widening else {
        return Ok(());
    };
    let directories = Directories::from_environment()?;
    let file = directories.trusted(team.as_str());
    if is_remembered(&file, widening) {
        return Ok(());
    }
    output.note(&told(widening));
    let is_trusted = match typed {
        Some(typed) => typed == widening.digest,
        None => !output.is_json() && may_ask() && ask()?,
    };
    if !is_trusted {
        return Err(untrusted(output, widening));
    }
    directories.prepare()?;
    remember(&file, widening).map_err(|error| Failure::io("the trust cannot be remembered", &error))
}

fn is_remembered(file: &Path, widening: &Widening) -> bool {
    private_file::read(file).is_ok_and(|digest| digest == widening.digest.as_bytes())
}

fn remember(file: &Path, widening: &Widening) -> std::io::Result<()> {
    private_file::replace(file, widening.digest.as_bytes())
}

fn may_ask() -> bool {
    terminal::is_terminal(std::io::stdin()) && terminal::is_terminal(std::io::stderr())
}

/// No answer is no.
fn ask() -> Result<bool, Failure> {
    let failed = |error: std::io::Error| Failure::io("the terminal cannot be asked", &error);
    let mut stderr = anstream::stderr();
    write!(stderr, "Trust this? [y/N] ").map_err(failed)?;
    stderr.flush().map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(failed)?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

fn told(widening: &Widening) -> String {
    let mut text = "the team file wants more than a project may have by itself:".to_owned();
    for line in &widening.lines {
        text.push_str(&format!("\n  {}", visible_line(line)));
    }
    text
}

/// A program is told in one sentence, a person in lines.
fn untrusted(output: Output, widening: &Widening) -> Failure {
    let mut text = "the team file is not trusted, and nothing was started".to_owned();
    if output.is_json() {
        text.push_str(&format!(": {}", widening.lines.join("; ")));
    }
    Failure::new("untrusted", ExitCode::Refused, text).hint(format!(
        "if you trust it, do the same with --trust {}",
        widening.digest
    ))
}
