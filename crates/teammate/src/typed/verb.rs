//! Runs a slash command that the user has typed in the pane. Starts `agent-team` for the command, so that syntax,
//! output and errors are the same as on the command line. Called by the parent module.
//!
//! The command runs with the user's environment and is not a call of the member. It has no terminal and no input. If
//! the member ends before the command, the command is terminated.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::{Refusal, TeamId};
use agent_team_system::directories::Directories;
use agent_team_system::sibling_binary::sibling_binary;
use agent_team_terminal_ui::{COLUMNS, columns_of_output};
use agent_team_tools::program::{Program, ProgramEnd};

const PROGRAM: &str = "agent-team";

/// The verb that is started without `--team`: with `--team`, `up` refuses `-n` and requires a team file, which the
/// default team for a goal does not have.
const UP: &str = "up";

/// The time limit of a command: `stop` may wait for the whole grace period of a member.
const LIMIT: Duration = Duration::from_secs(60);

/// The largest output that is shown, in bytes.
const PRINTED_MAX: usize = 64 << 10;

pub(super) struct Verbs {
    team: TeamId,
    project: PathBuf,
    environment: BTreeMap<OsString, OsString>,
}

impl Verbs {
    pub(super) fn new(launch: &LaunchFile, directories: &Directories) -> Self {
        let given = launch.environment.iter();
        let mut environment: BTreeMap<OsString, OsString> = given
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        // The pane chooses the colours of its lines itself.
        environment.insert("NO_COLOR".into(), "1".into());
        for (name, value) in directories.variables() {
            match value {
                Some(value) => environment.insert(name.into(), value),
                None => environment.remove(&OsString::from(name)),
            };
        }
        Self {
            team: launch.team.clone(),
            project: launch.project.clone(),
            environment,
        }
    }

    /// Runs the command and returns its output. `columns`: the width of the pane, if there is one.
    pub(super) async fn run(
        &self,
        words: Vec<String>,
        columns: Option<u16>,
    ) -> Result<String, Refusal> {
        let internal = |error: &dyn std::fmt::Display| Refusal::internal(error.to_string());
        let program = sibling_binary(PROGRAM).map_err(|error| internal(&error))?;
        let mut args: Vec<OsString> = Vec::new();
        if words.first().is_none_or(|verb| verb != UP) {
            args.extend(["--team".into(), self.team.as_str().into()]);
        }
        args.extend(words.into_iter().map(OsString::from));
        let mut env = self.environment.clone();
        env.extend(columns.map(|columns| (COLUMNS.into(), columns_of_output(columns).into())));
        let env = env.into_iter().collect();
        let mut running = Program::start(None, program, args, env, self.project.clone())
            .await
            .map_err(|error| internal(&error))?;
        let mut printed = Vec::new();
        let ended = running
            .finish(Some(LIMIT), std::future::pending(), |bytes| {
                let room = PRINTED_MAX.saturating_sub(printed.len());
                printed.extend_from_slice(&bytes[..bytes.len().min(room)]);
            })
            .await
            .map_err(|error| internal(&error))?;
        let mut text = String::from_utf8_lossy(&printed).into_owned();
        if !matches!(ended, ProgramEnd::Exited(_)) {
            text.push_str(&format!("({PROGRAM}: {ended})"));
        }
        Ok(text)
    }
}
