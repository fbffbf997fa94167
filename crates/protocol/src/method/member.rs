//! Arguments and answers of `member/*` and `stop/answer`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::id::{MemberName, Revision, RoleName};
use crate::notification::{MemberScreen, PromptView};
use crate::placement::PlacementChoice;
use crate::spec::CommandFile;
use crate::value::Effort;
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
    /// The word of a known external agent, such as `claude`, instead of the role's engine. Only the user may set this:
    /// the agent's program runs without the sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<String>,
    #[serde(default)]
    pub placement: Option<PlacementChoice>,
    /// `None`: the role's.
    #[serde(default)]
    pub model: Option<String>,
    /// `None`: the role's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
    /// The text to append to the role's prompt.
    #[serde(default)]
    pub prompt: Option<String>,
    /// The member's tools. If the role limits its tools, only tools of the role count.
    #[serde(default)]
    pub tools: Option<Vec<String>>,
    /// The working directory; a relative path starts at the project. `None`: the project's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// The member must have a plan approved before it may change anything, even if its role does not require it.
    #[serde(default)]
    pub must_plan: bool,
}

impl Spawn {
    /// A member as its role describes it.
    pub fn of(role: RoleName, name: Option<MemberName>) -> Self {
        Self {
            role,
            name,
            engine: None,
            external: None,
            placement: None,
            model: None,
            effort: None,
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
pub struct RunLine {
    pub member: MemberName,
    /// The shell line, for `/bin/sh -c`.
    pub line: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stop {
    pub member: MemberName,
    /// Stop the member even if it objects. Only the user may set this.
    #[serde(default)]
    pub force: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RemoveMember {
    pub member: MemberName,
    /// Stop the member even if it objects. Only the user may set this.
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
    /// Why the member objects. `None`: the member agrees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objection: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberAnswer {
    pub revision: Revision,
    pub member: MemberView,
    /// Whether the team is up or down at the same revision. Older supervisors omit it.
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
pub struct ScreenAnswer {
    /// `None`: the member shows no terminal program now.
    pub screen: Option<MemberScreen>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CommandsAnswer {
    pub commands: Vec<CommandFile>,
    /// The prompts of the member's MCP servers. Older supervisors omit them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<PromptView>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CallPrompt {
    pub member: MemberName,
    /// The name of a prompt, as `member/commands` lists it.
    pub name: String,
    /// The arguments in their order; the last one takes all remaining words.
    pub words: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Exit {
    pub code: i32,
    pub reason: String,
    /// Hold the member immediately: a restart cannot help, for example if the directory is wrong or a key is missing.
    pub hold: bool,
}
