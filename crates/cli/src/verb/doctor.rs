//! `doctor`: looks at the installation and at this project, and says what to do about what is wrong. It starts no
//! supervisor and mends nothing.

pub(super) mod model;
mod places;

use std::borrow::Cow;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use agent_team_protocol::exit;
use agent_team_protocol::initialize::BUILD;
use agent_team_protocol::spec::Engine;
use agent_team_system::daemon;
use agent_team_system::directories::Directories;
use agent_team_system::sandbox;
use owo_colors::OwoColorize;
use serde::Serialize;

use super::supervisor;
use crate::error::{Failure, Told};
use crate::output::{Output, text};
use crate::session::{self, Session};

/// Less than this free, in bytes, and a journal soon has no room.
const LEAST_ROOM: u64 = 64 << 20;

#[derive(Debug, Serialize)]
struct Check {
    name: Cow<'static, str>,
    /// `None`: neither good nor bad.
    ok: Option<bool>,
    detail: String,
    hint: Option<String>,
}

#[derive(Serialize)]
struct Document {
    checks: Vec<Check>,
}

impl Check {
    fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ok: Some(true),
            detail: detail.into(),
            hint: None,
        }
    }

    fn bad(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ok: Some(false),
            detail: detail.into(),
            hint: None,
        }
    }

    fn neutral(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ok: None,
            detail: detail.into(),
            hint: None,
        }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    fn failed(name: &'static str, failure: Failure) -> Self {
        match failure {
            Failure::BrokenPipe => Self::bad(name, "the output is gone"),
            Failure::Told(told) => {
                let Told {
                    message,
                    causes,
                    hint,
                    ..
                } = *told;
                let detail = std::iter::once(message)
                    .chain(causes)
                    .collect::<Vec<_>>()
                    .join(": ");
                Self {
                    hint,
                    ..Self::bad(name, detail)
                }
            }
        }
    }

    fn text(&self) -> String {
        let sign = match self.ok {
            Some(true) => "✓".green().to_string(),
            Some(false) => "✗".red().to_string(),
            None => "–".dimmed().to_string(),
        };
        let hint = self
            .hint
            .as_deref()
            .map(|hint| format!("    hint: {}\n", text::line(hint)));
        format!(
            "{sign} {:<14} {}\n{}",
            self.name,
            text::line(&self.detail),
            hint.unwrap_or_default()
        )
    }
}

pub(super) async fn run(output: Output) -> Result<ExitCode, Failure> {
    let mut checks = vec![
        binary(supervisor::BINARY),
        binary(Engine::Command.worker()),
        binary(Engine::Native.worker()),
    ];
    match Directories::from_environment()
        .and_then(|directories| directories.prepare().map(|()| directories))
    {
        Ok(directories) => {
            checks.push(Check::good(
                "directories",
                directories.state.display().to_string(),
            ));
            checks.push(room(&directories.state));
            checks.push(running().await);
        }
        Err(error) => checks.push(Check::failed("directories", error.into())),
    }
    checks.extend(user(rustix::process::geteuid().is_root()));
    checks.extend(places::checks());
    checks.push(sandbox().await);
    let (project, loaded) = project();
    let has_file = project.ok.is_some();
    checks.push(project);
    checks.extend(model::checks(loaded.as_ref()).into_iter().map(|check| {
        match check.ok {
            // Nobody asked for agents yet, and teams of commands need no model.
            Some(false) if !has_file => Check { ok: None, ..check },
            Some(_) | None => check,
        }
    }));
    let document = Document { checks };
    output.show(&document, || {
        document.checks.iter().map(Check::text).collect()
    })?;
    let bad = document.checks.iter().any(|check| check.ok == Some(false));
    Ok(if bad {
        exit::ExitCode::Failed
    } else {
        exit::ExitCode::Done
    }
    .into())
}

/// Whether one of our binaries is there, and of this build.
fn binary(name: &'static str) -> Check {
    let path = match daemon::sibling_binary(name) {
        Ok(path) => path,
        Err(error) => {
            return Check::bad(name, error.to_string()).hint("install the binaries side by side");
        }
    };
    let shown = path.display();
    let version = env!("CARGO_PKG_VERSION");
    match Command::new(&path)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
    {
        Ok(said)
            if String::from_utf8_lossy(&said.stdout)
                .split_whitespace()
                .any(|word| word == version) =>
        {
            Check::good(name, format!("{version} at {shown}"))
        }
        Ok(said) => {
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            Check::bad(
                name,
                format!("{shown} is not of this build ({version}): {said:?}"),
            )
            .hint("install the binaries of one build")
        }
        Err(error) => Check::bad(name, format!("{shown} cannot be run: {error}")),
    }
}

fn room(state: &Path) -> Check {
    const NAME: &str = "disk";
    match rustix::fs::statvfs(state) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let detail = format!("{} MiB free", free >> 20);
            if free < LEAST_ROOM {
                Check::bad(NAME, detail)
                    .hint("make room: a full disk stops every team until there is some")
            } else {
                Check::good(NAME, detail)
            }
        }
        Err(error) => Check::bad(
            NAME,
            format!("how much room is left cannot be told: {error}"),
        ),
    }
}

/// A warning, only for root.
fn user(is_root: bool) -> Option<Check> {
    let text = "root: agents edit files with the rights of an administrator, and a mistake in the \
                sandbox or in a decision concerns the whole machine";
    is_root.then(|| {
        Check::neutral("user", text).hint("run agent-team as an ordinary user of this machine")
    })
}

/// What holds the commands of agents, by trying it.
async fn sandbox() -> Check {
    const NAME: &str = "sandbox";
    let better = "install bubblewrap";
    match sandbox::find(&std::env::var_os("PATH").unwrap_or_default()).await {
        Ok(sandbox) if sandbox.protects() => Check::good(NAME, sandbox.to_string()),
        Ok(sandbox) => Check::good(NAME, format!("{sandbox}; it protects no file of a project"))
            .hint(format!("{better}, which protects git's hooks and others")),
        Err(none) => Check::neutral(
            NAME,
            format!("none, so that every command of an agent is asked about: {none}"),
        )
        .hint(better),
    }
}

async fn running() -> Check {
    const NAME: &str = "supervisor";
    let mut session = match Session::of_running_supervisor().await {
        Ok(Some(session)) => session,
        Ok(None) => {
            return Check::neutral(
                NAME,
                "not running; the next command that needs it starts it",
            );
        }
        Err(failure) => return Check::failed(NAME, failure),
    };
    match session.supervisor().await {
        Ok(said) if said.build == BUILD => {
            Check::good(NAME, format!("{}, process {}", said.build, said.pid))
        }
        Ok(said) => Check::bad(NAME, format!("it is {}, and this is {BUILD}", said.build))
            .hint("run agent-team supervisor restart"),
        Err(failure) => Check::failed(NAME, failure),
    }
}

fn project() -> (Check, Option<agent_team_file::Loaded>) {
    const NAME: &str = "team file";
    let here = match session::current_directory() {
        Ok(here) => here,
        Err(failure) => return (Check::failed(NAME, failure), None),
    };
    let file = agent_team_file::find(&here);
    let directories = Directories::from_environment().ok();
    let reading = agent_team_file::Reading {
        here: &here,
        settings: directories.as_ref().map(|all| all.config.as_path()),
        variables: None,
        own: None,
    };
    let Some(file) = file else {
        let none = Check::neutral(NAME, "none in this directory or above it")
            .hint("write one with: agent-team init");
        return (none, agent_team_file::of_workers(1, reading).ok());
    };
    match agent_team_file::load(&file, reading) {
        Ok(loaded) => {
            let spec = &loaded.spec;
            let members = text::count(spec.members.len() as u64, "member");
            let tasks = text::count(spec.tasks.len() as u64, "task");
            let check = Check::good(NAME, format!("{}: {members}, {tasks}", spec.name));
            (check, Some(loaded))
        }
        Err(error) => (Check::failed(NAME, error.into()), None),
    }
}

#[cfg(test)]
mod tests {
    use super::user;

    #[test]
    fn doctor_warns_about_root_alone() {
        let warning = user(true).expect("a warning");
        assert_eq!(warning.ok, None, "the installation itself works");
        assert!(warning.detail.starts_with("root: "), "{}", warning.detail);
        assert!(user(false).is_none());
    }
}
