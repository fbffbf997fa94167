//! The settings that the core carries without looking inside: what the launchers and the hooks go by.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use agent_team_core::plan::{MemberPlan, TeamPlan};
use agent_team_protocol::permissions::{Permissions, Stance};
use agent_team_protocol::spec::{
    AgentSpec, Colour, Engine, FileDigest, Hooks, Layout, RoleSpec, TrustedLine,
};
use agent_team_protocol::view::Placement;
use serde::{Deserialize, Serialize};

/// A team's settings, in `TeamPlan::settings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TeamSettings {
    pub(crate) place: Place,
    pub(crate) layout: Layout,
    pub(crate) hooks: Hooks,
    #[serde(default)]
    pub(crate) permissions: Permissions,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) own_permissions: Vec<Permissions>,
    #[serde(default)]
    pub(crate) stance: Stance,
    pub(crate) roles: Vec<RoleSpec>,
    /// The scripts that hooks and lines of tasks start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) trusted: Vec<TrustedLine>,
}

/// Where the members' workers run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) terminal: Terminal,
    /// Why it was chosen, for a person.
    pub(crate) reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Terminal {
    Headless,
    Hosted,
    Tmux(TmuxPlace),
    Iterm(ItermPlace),
}

impl Terminal {
    /// Where a member is, unless it is to be somewhere else than the team.
    pub(crate) fn placement(&self) -> Placement {
        match self {
            Self::Headless => Placement::Headless,
            Self::Hosted => Placement::Hosted,
            Self::Tmux(_) => Placement::Tmux,
            Self::Iterm(_) => Placement::Iterm,
        }
    }
}

/// Which tmux server shows the team, and as what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TmuxPlace {
    pub(crate) binary: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) session: TmuxSession,
    /// Columns and rows that a window is made with.
    pub(crate) size: (u16, u16),
    /// Attached through tmux's control mode, in which iTerm2 draws windows and panes itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) control_mode: bool,
}

/// Which iTerm2 shows the team. What lets us in is no part of it: a cookie is a secret, and used once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ItermPlace {
    /// Where its API listens.
    pub(crate) socket: PathBuf,
    /// The session that the team was brought up in, beside whose tab its own ones are.
    pub(crate) session: Option<String>,
    /// What asks the app for a cookie, where it is installed.
    pub(crate) osascript: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TmuxSession {
    /// Of our own server: made and ended with the team.
    Own,
    /// The user's, by its id: only windows of ours are made in it.
    Users(String),
}

/// A member's settings, in `MemberPlan::settings`: a difference means a new launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberSettings {
    pub(crate) engine: Engine,
    pub(crate) cwd: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
    /// Without a terminal, wherever the others are.
    pub(crate) headless: bool,
    /// In one process with others, wherever they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) hosted: bool,
    #[serde(default, skip_serializing_if = "is_plain")]
    pub(crate) agent: AgentSpec,
}

/// Settings of members without an agent stay as earlier builds wrote them.
fn is_plain(agent: &AgentSpec) -> bool {
    *agent == AgentSpec::default()
}

impl TeamSettings {
    /// `None` for a team that was never brought up.
    pub(crate) fn of(plan: &TeamPlan) -> Option<Self> {
        serde_json::from_str(&plan.settings).ok()
    }

    /// The scripts that the user trusted, those of MCP servers too, and what git's configuration leads to.
    pub(crate) fn scripts(&self) -> Vec<PathBuf> {
        let of_lines = self.trusted.iter().flat_map(|line| &line.files);
        let servers = self.roles.iter().flat_map(|role| &role.agent.mcp);
        let of_servers = servers.flat_map(|server| &server.files);
        let files = of_lines.chain(of_servers).map(|file| &file.path);
        let kept = self.roles.iter().flat_map(|role| &role.agent.kept);
        files.chain(kept.map(|kept| &kept.path)).cloned().collect()
    }

    /// The scripts that this line of the team's file starts.
    pub(crate) fn files_of(&self, line: &str) -> Vec<FileDigest> {
        let known = self.trusted.iter().find(|known| known.line == line);
        known.map(|known| known.files.clone()).unwrap_or_default()
    }
}

impl MemberSettings {
    pub(crate) fn of(plan: &MemberPlan) -> Option<Self> {
        serde_json::from_str(&plan.settings).ok()
    }
}

/// The settings as the core carries them.
pub(crate) fn carried(settings: &impl Serialize) -> Arc<str> {
    serde_json::to_string(settings)
        .expect("settings have string keys")
        .into()
}

/// The colour that a plan carries, by its name.
pub(crate) fn colour(plan: &MemberPlan) -> Colour {
    Colour::PALETTE
        .into_iter()
        .find(|colour| colour.name() == &*plan.colour)
        .unwrap_or(Colour::Grey)
}
