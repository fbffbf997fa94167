//! `doctor`: checks the installation and this project, and prints the result of each check, with a hint if there is
//! one. It creates missing directories of agent-team; it starts no supervisor and repairs nothing else.

mod check;
mod clis;
pub(super) mod model;
mod placements;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use agent_team_client::Session;
use agent_team_protocol::TeamId;
use agent_team_protocol::engine::ENGINES;
use agent_team_protocol::exit;
use agent_team_protocol::initialize::BUILD;
use agent_team_protocol::method::{Nothing, TeamList};
use agent_team_protocol::view::TeamState;
use agent_team_system::directories::Directories;
use agent_team_system::sandbox;
use agent_team_system::sibling_binary::sibling_binary;
use serde::Serialize;

use self::check::Check;
use self::clis::Cli;
use super::supervisor;
use crate::args;
use crate::caller;
use crate::error::Failure;
use crate::output::{Output, text};

/// With fewer free bytes, journals soon fill the disk.
const LEAST_FREE: u64 = 64 << 20;

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Report {
    checks: Vec<Check>,
    /// With `--clis`: the agents of other vendors that are installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    clis: Option<Vec<Cli>>,
}

pub(super) async fn run(output: Output, args: args::Doctor) -> Result<ExitCode, Failure> {
    let workers: BTreeSet<_> = ENGINES.iter().map(|engine| engine.worker).collect();
    let programs = [supervisor::BINARY].into_iter().chain(workers);
    let mut checks: Vec<_> = programs.map(binary).collect();
    match Directories::from_environment()
        .and_then(|directories| directories.prepare().map(|()| directories))
    {
        Ok(directories) => {
            checks.push(Check::good(
                "directories",
                directories.state.display().to_string(),
            ));
            checks.push(disk(&directories.state));
            checks.push(running_supervisor().await);
        }
        Err(error) => checks.push(Check::failed("directories", error.into())),
    }
    checks.extend(user(rustix::process::geteuid().is_root()));
    checks.extend(placements::checks());
    checks.push(sandbox().await);
    let (project, loaded) = project();
    let has_file = project.ok.is_some();
    checks.push(project);
    let is_up = match &loaded {
        Some(loaded) => is_up(loaded).await,
        None => false,
    };
    checks.extend(model::checks(loaded.as_ref()).into_iter().map(|check| {
        match check.ok {
            // Without a team file a missing model is not a problem: command members need none.
            Some(false) if !has_file => Check { ok: None, ..check },
            // The shell that started the team may have keys that this shell does not have.
            Some(false) if is_up => Check::neutral(check.name, format!(
                "{} (in this shell; the team is up, and its members use the environment of the shell that ran \
                 agent-team up)",
                check.detail
            )),
            Some(_) | None => check,
        }
    }));
    let clis = match args.clis {
        true => {
            let probed = tokio::task::spawn_blocking(clis::probe);
            let probed = output.waiting_for("the agents to answer", async {
                probed
                    .await
                    .map_err(|error| Failure::bug(error.to_string()))?
            });
            Some(probed.await?)
        }
        false => {
            checks.push(clis::installed());
            None
        }
    };
    let document = Report { checks, clis };
    output.show(&document, || {
        let of_clis: Vec<_> = document.clis.iter().flatten().map(Cli::check).collect();
        let none = document.clis.as_ref().filter(|clis| clis.is_empty());
        let checks = document.checks.iter().chain(&of_clis);
        let width = checks.clone().map(|check| check.name.len()).max();
        let text = |check: &Check| check.text(width.unwrap_or(0));
        let text: String = checks.map(text).collect();
        match none {
            Some(_) => format!("{text}no agent of another vendor is installed\n"),
            None => text,
        }
    })?;
    let bad = document.checks.iter().any(|check| check.ok == Some(false));
    Ok(if bad {
        exit::ExitCode::Failed
    } else {
        exit::ExitCode::Done
    }
    .into())
}

/// Checks that a binary of agent-team exists and has this version.
fn binary(name: &'static str) -> Check {
    let path = match sibling_binary(name) {
        Ok(path) => path,
        Err(error) => {
            return Check::bad(name, error.to_string())
                .hint("install all binaries in one directory");
        }
    };
    let shown = path.display();
    let version = env!("CARGO_PKG_VERSION");
    match Command::new(&path)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
    {
        Ok(output)
            if String::from_utf8_lossy(&output.stdout)
                .split_whitespace()
                .any(|word| word == version) =>
        {
            Check::good(name, format!("{version} at {shown}"))
        }
        Ok(output) => {
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            Check::bad(
                name,
                format!("{shown} is not version {version}: {printed:?}"),
            )
            .hint("install binaries of the same version")
        }
        Err(error) => Check::bad(name, format!("cannot run {shown}: {error}")),
    }
}

fn disk(state: &Path) -> Check {
    const NAME: &str = "disk";
    match rustix::fs::statvfs(state) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let detail = format!("{} MiB free", free >> 20);
            if free < LEAST_FREE {
                Check::bad(NAME, detail).hint("free some space: a full disk stops every team")
            } else {
                Check::good(NAME, detail)
            }
        }
        Err(error) => Check::bad(NAME, format!("cannot read the free space: {error}")),
    }
}

/// A warning for root; nothing for other users.
fn user(is_root: bool) -> Option<Check> {
    let text = "root: agents edit files with administrator rights, and a mistake in the sandbox \
                or in a decision affects the whole machine";
    is_root.then(|| Check::neutral("user", text).hint("run agent-team as an ordinary user"))
}

/// Finds the sandbox for the commands of agents by trying each kind of sandbox.
async fn sandbox() -> Check {
    const NAME: &str = "sandbox";
    let install = "install bubblewrap";
    match sandbox::find(&std::env::var_os("PATH").unwrap_or_default()).await {
        Ok(sandbox) if sandbox.protects() => Check::good(
            NAME,
            format!("{sandbox}; --mode sandboxed runs the commands of agents in it without asking"),
        ),
        Ok(sandbox) => Check::good(
            NAME,
            format!(
                "{sandbox}; it protects no files of the project, and git commands that only read, such as \
                 git status, need a decision"
            ),
        )
        .hint(format!(
            "{install}, which protects git hooks and other files, and contains git"
        )),
        Err(none) => Check::neutral(
            NAME,
            format!("none; every command of an agent needs a decision: {none}"),
        )
        .hint(install),
    }
}

async fn running_supervisor() -> Check {
    const NAME: &str = "supervisor";
    let mut session = match Session::of_running(None).await {
        Ok(Some(session)) => session,
        Ok(None) => {
            return Check::neutral(
                NAME,
                "not running; the next command that needs it starts it",
            );
        }
        Err(error) => return Check::failed(NAME, error.into()),
    };
    match session.supervisor().await {
        Ok(running) if running.build == BUILD => {
            Check::good(NAME, format!("{}, process {}", running.build, running.pid))
        }
        Ok(running) => {
            let detail = format!("it is {}, but this program is {BUILD}", running.build);
            Check::bad(NAME, detail).hint("run agent-team supervisor restart")
        }
        Err(error) => Check::failed(NAME, error.into()),
    }
}

/// Whether the team of this file is up. Also `false` if the supervisor cannot be asked; [`running_supervisor`] reports
/// why.
async fn is_up(loaded: &agent_team_file::Loaded) -> bool {
    let team = TeamId::new(&loaded.spec.name, &loaded.spec.project);
    let Ok(Some(mut session)) = Session::of_running(None).await else {
        return false;
    };
    let listed = session.query::<TeamList>(Nothing {}).await;
    listed.is_ok_and(|answer| {
        let mut teams = answer.teams.iter();
        teams.any(|entry| entry.team == team && entry.state == TeamState::Up)
    })
}

fn project() -> (Check, Option<agent_team_file::Loaded>) {
    const NAME: &str = "team file";
    let here = match caller::current_directory() {
        Ok(here) => here,
        Err(failure) => return (Check::failed(NAME, failure), None),
    };
    let file = agent_team_file::find(&here);
    let directories = Directories::from_environment().ok();
    let reading = agent_team_file::Reading {
        here: &here,
        settings: directories.as_ref().map(|all| all.config.as_path()),
        variables: None,
        overrides: None,
    };
    let Some(file) = file else {
        let none = Check::neutral(NAME, "none in this directory or a parent")
            .hint("create one with: agent-team init");
        return (none, agent_team_file::of_workers(1, None, reading).ok());
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
    fn doctor_warns_only_root_about_the_user() {
        let warning = user(true).expect("a warning");
        assert_eq!(warning.ok, None, "the warning counts as a fault");
        assert!(warning.detail.starts_with("root: "), "{}", warning.detail);
        assert!(user(false).is_none());
    }
}
