//! The launch file: everything that a worker needs before it can connect. Mode 0600; the process that unlinks it owns
//! the launch.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::id::{LaunchId, MemberName, RoleName, TeamId};
use crate::spec::AgentSpec;

/// The environment variable that marks every process of a launch's tree. Not a secret.
pub const LAUNCH_MARKER: &str = "AGENT_TEAM_LAUNCH";

/// The content of a launch file, as JSON. It has no `Debug`, because it contains a token and an environment.
#[expect(
    missing_debug_implementations,
    reason = "a launch file contains secrets"
)]
#[derive(Serialize, Deserialize)]
pub struct LaunchFile {
    /// The supervisor's lock file, which contains the path of the socket. A restarted supervisor uses the same file.
    pub supervisor_lock: PathBuf,
    pub team: TeamId,
    pub member: MemberName,
    pub launch: LaunchId,
    /// 256 random bits in hexadecimal, presented on every connect.
    pub token: String,
    /// The member's working directory. The worker changes to it, and exits with an error if it cannot.
    pub cwd: PathBuf,
    /// The member's whole environment; the worker's own environment is not inherited.
    pub environment: BTreeMap<String, String>,
    /// The variables of `environment` that the user or the team file named. An agent's tools receive these variables,
    /// and other variables only if tools usually need them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub named: BTreeSet<String>,
    /// Variables for the member's programs only; their values are hidden in all output.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// The member's log, to which the worker appends.
    pub log: PathBuf,
    pub engine: Engine,
    pub role: RoleName,
    pub lead: bool,
    /// Canonical path of the project directory.
    pub project: PathBuf,
    #[serde(default)]
    pub agent: AgentSpec,
    /// Whether a limit in dollars applies to the member or its team: the price of each of its models must be known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub usd_limit: bool,
    /// What the member's pane shows about the end of the previous launch, if this launch continues its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relaunched: Option<String>,
}
