//! Arguments and answers of `member/*` and `stop/answer`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::{MemberName, Revision, RoleName};
use crate::spec::{Engine, PlacementChoice};
use crate::view::{MemberView, TeamState};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Spawn {
    pub role: RoleName,
    /// `None`: `<role>-<n>`.
    #[serde(default)]
    pub name: Option<MemberName>,
    /// `None`: the role's.
    #[serde(default)]
    pub engine: Option<Engine>,
    #[serde(default)]
    pub placement: Option<PlacementChoice>,
    /// `None`: the role's.
    #[serde(default)]
    pub model: Option<String>,
    /// Behind the role's.
    #[serde(default)]
    pub prompt: Option<String>,
    /// Of the role's, only these.
    #[serde(default)]
    pub tools: Option<Vec<String>>,
    /// Where it works; a relative one starts at the project. `None`: the project's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// It changes nothing before a plan of it is approved, also where its role does not say so.
    #[serde(default)]
    pub must_plan: bool,
}

impl Spawn {
    /// A member as its role describes it; without a name `<role>-<n>`.
    pub fn of(role: RoleName, name: Option<MemberName>) -> Self {
        Self {
            role,
            name,
            engine: None,
            placement: None,
            model: None,
            prompt: None,
            tools: None,
            cwd: None,
            must_plan: false,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OneMember {
    pub member: MemberName,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stop {
    pub member: MemberName,
    /// Whatever it objects. The user alone.
    #[serde(default)]
    pub force: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RemoveMember {
    pub member: MemberName,
    /// Whatever it objects. The user alone.
    #[serde(default)]
    pub force: bool,
}

/// The member has left the team.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RemoveAnswer {
    pub revision: Revision,
    pub member: MemberName,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AnswerStop {
    /// Why it does not want to end. `None`: it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objection: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberAnswer {
    pub revision: Revision,
    pub member: MemberView,
    /// What the team is with the member as it is now. Older supervisors do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<TeamState>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LogAnswer {
    pub path: PathBuf,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Exit {
    pub code: i32,
    pub reason: String,
    /// Restarting cannot help: a wrong directory, a missing key. The member is held at once.
    pub hold: bool,
}
