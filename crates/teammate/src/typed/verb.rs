//! A verb that was typed in the pane, carried out by `agent-team` itself: the same words, the same answers, the same
//! errors. Called by the parent.
//!
//! It is the person's, so it has their environment and is none of the member's calls; it has no terminal, is asked
//! nothing, and ends with the member at the latest.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::{Refusal, TeamId};
use agent_team_system::daemon;
use agent_team_system::directories::Directories;

use crate::tool::program::{Ended, Program};

const PROGRAM: &str = "agent-team";

/// Names the team itself, and so cannot be told another.
const UP: &str = "up";

/// How long it may take: `stop` waits for as long as a member may.
const LIMIT: Duration = Duration::from_secs(60);

/// Bytes of what it prints that are shown.
const PRINTED_MAX: usize = 64 << 10;

/// What a verb is run with.
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
        // What it prints goes into lines of ours.
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

    /// What it printed.
    pub(super) async fn run(&self, words: Vec<String>) -> Result<String, Refusal> {
        let internal = |error: &dyn std::fmt::Display| Refusal::internal(error.to_string());
        let program = daemon::sibling_binary(PROGRAM).map_err(|error| internal(&error))?;
        let mut args: Vec<OsString> = Vec::new();
        if words.first().is_none_or(|verb| verb != UP) {
            args.extend(["--team".into(), self.team.as_str().into()]);
        }
        args.extend(words.into_iter().map(OsString::from));
        let env = self.environment.clone().into_iter().collect();
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
        if !matches!(ended, Ended::Exited(_)) {
            text.push_str(&format!("({PROGRAM}: {ended})"));
        }
        Ok(text)
    }
}
