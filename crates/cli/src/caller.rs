//! The process that runs the command: its team, directory, terminal and environment. Used by every verb that talks to
//! the supervisor or starts a team.

use std::collections::BTreeMap;
use std::path::PathBuf;

use agent_team_client::Session;
use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_protocol::placement::{CallerTerminal, TERMINAL_VARIABLES};
use agent_team_protocol::rpc::TeamRef;
use agent_team_system::spawn::READY_FD;
use agent_team_system::terminal;
use agent_team_terminal_ui::COLUMNS;

use crate::args::Global;
use crate::error::Failure;

impl Global {
    /// A session for the existing team that `--team` names, or else for the team of the current directory.
    pub(crate) fn session(&self) -> Result<Session, Failure> {
        let team = match &self.team {
            Some(name) => TeamRef::Name(name.clone()),
            None => TeamRef::Directory(current_directory()?),
        };
        Ok(Session::of_team(team))
    }
}

/// The canonical current directory, which compares equal to a project's path.
pub(crate) fn current_directory() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    here.map_err(|error| Failure::io("cannot find the current directory", &error))
}

/// The properties of this terminal that the supervisor needs for placement.
pub(crate) fn terminal() -> CallerTerminal {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    CallerTerminal::of(variable, terminal::size(std::io::stdout()))
}

/// Whether stdin and stdout are a terminal, so that a terminal program can run.
pub(crate) fn is_terminal() -> bool {
    terminal::is_terminal(std::io::stdin()) && terminal::is_terminal(std::io::stdout())
}

/// Variables of this process that must not reach the members, in addition to [`TERMINAL_VARIABLES`].
const NOT_PASSED_ON: [&str; 3] = [LAUNCH_MARKER, READY_FD, COLUMNS];

/// The environment of this process for the members, and the names of the variables that are not UTF-8 and cannot be
/// passed.
pub(crate) fn environment() -> (BTreeMap<String, String>, Vec<String>) {
    let (mut environment, mut lost) = (BTreeMap::new(), Vec::new());
    for (name, value) in std::env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), _)
                if NOT_PASSED_ON.contains(&name.as_str())
                    || TERMINAL_VARIABLES.contains(&name.as_str()) => {}
            (Ok(name), Ok(value)) => drop(environment.insert(name, value)),
            (Ok(name), Err(_)) => lost.push(name),
            (Err(name), _) => lost.push(name.to_string_lossy().into_owned()),
        }
    }
    (environment, lost)
}

/// The prefixes of variables that mark a process as started by an agent. Another agent that inherits these variables
/// would behave as a part of that agent.
const NESTED: [&str; 2] = ["CLAUDECODE", "CLAUDE_CODE_"];

/// [`environment`] of a process that another program has started, such as a chat or an editor.
pub(crate) fn environment_of_program() -> BTreeMap<String, String> {
    let (mut environment, _not_utf8) = environment();
    environment.retain(|name, _| !NESTED.iter().any(|prefix| name.starts_with(prefix)));
    environment
}
