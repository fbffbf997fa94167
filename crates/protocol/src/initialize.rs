//! The first frame of every connection. Its shape never changes, so that each version can read the first frame of any
//! other version.

use serde::{Deserialize, Serialize};

use crate::command_line::CommandLine;
use crate::error::{ErrorCode, Refusal};
use crate::id::{LaunchId, MemberName, RoleName, TeamId};
use crate::notification::{Allowance, Assignment};

pub const METHOD: &str = "initialize";

/// The protocol versions that this build speaks.
pub const PROTOCOL: Versions = Versions { min: 1, max: 1 };

/// This build, for users and logs.
pub const BUILD: &str = concat!("agent-team ", env!("CARGO_PKG_VERSION"));

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Versions {
    pub min: u32,
    pub max: u32,
}

/// The parameters of `initialize`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Initialize {
    pub protocol: Versions,
    pub build: String,
    #[serde(rename = "as")]
    pub role: ConnectionRole,
    /// A client's random id, which the client keeps when it reconnects. Idempotency keys belong to this id, not to a
    /// connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The launch of a member, which `token` proves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<LaunchId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<TeamId>,
    /// A secret: `Debug` hides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl std::fmt::Debug for Initialize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Initialize")
            .field("protocol", &self.protocol)
            .field("build", &self.build)
            .field("role", &self.role)
            .field("client", &self.client)
            .field("launch", &self.launch)
            .field("team", &self.team)
            .finish_non_exhaustive()
    }
}

impl Initialize {
    /// The parameters of a client. `id` is the client's random id.
    pub fn client(id: impl Into<String>) -> Self {
        Self {
            protocol: PROTOCOL,
            build: BUILD.into(),
            role: ConnectionRole::Client,
            client: Some(id.into()),
            launch: None,
            team: None,
            token: None,
        }
    }

    /// The parameters of the worker of this launch.
    pub fn member(team: TeamId, launch: LaunchId, token: String) -> Self {
        Self {
            protocol: PROTOCOL,
            build: BUILD.into(),
            role: ConnectionRole::Member,
            client: None,
            launch: Some(launch),
            team: Some(team),
            token: Some(token),
        }
    }
}

/// The role in which a process connects. A client acts as the user; a member acts as its launch, even if its frames
/// contain other names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ConnectionRole {
    Client,
    Member,
}

/// The answer to `initialize`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Initialized {
    /// The protocol version of this connection.
    pub protocol: u32,
    pub build: String,
    /// The supervisor's process.
    pub pid: u32,
    /// For a member: its identity and its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Welcome>,
}

/// State that a worker receives whenever it connects.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Welcome {
    pub name: MemberName,
    pub team: TeamId,
    pub role: RoleName,
    pub colour: String,
    /// The member's claim. The worker starts the task unless it already runs the task under this generation. `None`:
    /// the member has no claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Assignment>,
    #[serde(default)]
    pub allowance: Allowance,
}

/// The highest version that both sides speak.
///
/// # Errors
/// `version_skew`. The hint names the older side and how to update it.
pub fn agree(supervisor: Versions, peer: Versions) -> Result<u32, Refusal> {
    let agreed = supervisor.max.min(peer.max);
    if agreed >= supervisor.min && agreed >= peer.min {
        return Ok(agreed);
    }
    let refusal = Refusal::new(
        ErrorCode::VersionSkew,
        format!(
            "the supervisor speaks protocol {}–{}, this program {}–{}",
            supervisor.min, supervisor.max, peer.min, peer.max
        ),
    );
    Err(if supervisor.max < peer.max {
        refusal.hint(format!(
            "the supervisor is older: run {}",
            CommandLine::RestartSupervisor
        ))
    } else {
        refusal.hint("this program is older: install the same build as the supervisor's")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(min: u32, max: u32) -> Versions {
        Versions { min, max }
    }

    #[test]
    fn both_sides_agree_on_the_highest_common_version() {
        assert_eq!(agree(versions(1, 2), versions(2, 3)), Ok(2));
        assert_eq!(agree(versions(2, 3), versions(2, 3)), Ok(3));
    }

    #[test]
    fn skew_names_the_older_side() {
        let old_supervisor = agree(versions(1, 1), versions(2, 3)).unwrap_err();
        assert!(old_supervisor.hint.unwrap().contains("supervisor restart"));
        let old_peer = agree(versions(3, 4), versions(1, 2)).unwrap_err();
        assert!(old_peer.hint.unwrap().contains("this program is older"));
    }
}
