//! The launch file: all that a worker needs before it can speak. 0600, and whoever unlinks it owns the launch.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::{LaunchId, MemberName, RoleName, TeamId};
use crate::spec::{AgentSpec, Engine};

/// The environment variable that marks every process of a launch's tree. Not a secret.
pub const LAUNCH_MARKER: &str = "AGENT_TEAM_LAUNCH";

/// What the launch file holds, as JSON. There is no `Debug`: it holds a token and an environment.
#[expect(missing_debug_implementations, reason = "it holds secrets")]
#[derive(Serialize, Deserialize)]
pub struct LaunchFile {
    /// The supervisor's lock file, which names its socket also after a restart.
    pub supervisor_lock: PathBuf,
    pub team: TeamId,
    pub member: MemberName,
    pub launch: LaunchId,
    /// 256 random bits in hexadecimal, shown on every connect.
    pub token: String,
    /// Where the member works. The worker goes there itself, and fails aloud when it cannot.
    pub cwd: PathBuf,
    /// The member's whole environment; the worker's own is not passed on.
    pub environment: BTreeMap<String, String>,
    /// Which of them the person or the team file named. An agent's tools are given these, and of the others what tools
    /// usually need.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub named: BTreeSet<String>,
    /// Variables of what it runs, which it shows to nobody.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// The member's log, appended to.
    pub log: PathBuf,
    pub engine: Engine,
    pub role: RoleName,
    pub lead: bool,
    /// Canonical path of the project directory.
    pub project: PathBuf,
    #[serde(default)]
    pub agent: AgentSpec,
}
