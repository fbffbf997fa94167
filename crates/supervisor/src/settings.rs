//! Settings of teams and members that the core stores as opaque text: inputs of launchers, hooks and permission
//! rules. `parsed_settings` parses them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use agent_team_core::spec::MemberSpec;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::permissions::{PermissionDefaults, Permissions};
use agent_team_protocol::spec::{
    AgentSpec, Colour, FileDigest, Hooks, KeptPath, Layout, Notify, RoleSpec, TrustedLine,
};
use serde::{Deserialize, Serialize};

use crate::launch::panes::TerminalBackend;

/// A team's settings, stored in the `TeamSpec` of the core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TeamSettings {
    #[serde(rename = "place")]
    pub(crate) team_placement: TeamPlacement,
    pub(crate) layout: Layout,
    pub(crate) hooks: Hooks,
    #[serde(default, skip_serializing_if = "Notify::is_default")]
    pub(crate) notify: Notify,
    #[serde(default)]
    pub(crate) permissions: Permissions,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) own_permissions: Vec<Permissions>,
    #[serde(rename = "stance", default)]
    pub(crate) permission_defaults: PermissionDefaults,
    pub(crate) roles: Vec<RoleSpec>,
    /// The shell lines of hooks and tasks that the user trusted, with the scripts that they start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) trusted: Vec<TrustedLine>,
    /// See [`agent_team_protocol::spec::TeamSpec::protected`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) protected: Vec<KeptPath>,
}

/// Where the members' workers are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TeamPlacement {
    pub(crate) terminal: TerminalBackend,
    /// Why the backend was chosen, for display.
    pub(crate) reason: String,
}

/// A member's settings, stored in the `MemberSpec` of the core. A change requires a new launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberSettings {
    pub(crate) engine: Engine,
    pub(crate) cwd: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
    /// The member runs without a terminal, regardless of the team's placement, except in an embedding program.
    pub(crate) headless: bool,
    /// The member runs in a process shared with other members, regardless of the team's placement, unless it shows a
    /// terminal program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) hosted: bool,
    #[serde(default, skip_serializing_if = "is_plain")]
    pub(crate) agent: AgentSpec,
}

/// Whether the settings are the default, which is not stored. Otherwise the stored text of a member without an agent
/// would differ from the text that earlier builds stored, and `up` would restart the member.
fn is_plain(agent: &AgentSpec) -> bool {
    *agent == AgentSpec::default()
}

impl TeamSettings {
    /// The scripts that this line of the team file starts.
    pub(crate) fn files_of(&self, line: &str) -> Vec<FileDigest> {
        let known = self.trusted.iter().find(|known| known.line == line);
        known.map(|known| known.files.clone()).unwrap_or_default()
    }
}

pub(crate) fn to_json(settings: &impl Serialize) -> Arc<str> {
    serde_json::to_string(settings)
        .expect("settings have string keys")
        .into()
}

/// The colour named in the member's spec.
pub(crate) fn colour(spec: &MemberSpec) -> Colour {
    Colour::PALETTE
        .into_iter()
        .find(|colour| colour.name() == &*spec.colour)
        .unwrap_or(Colour::Grey)
}
