//! The permissions in the team file and in the user's settings: rules, and the defaults for calls that no rule matches.

use serde::{Deserialize, Serialize};

use crate::request::Scope;
pub use crate::value::Mode;

/// The rules of one source: the team file, or the user's own settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
// An ignored key could be a restriction, so permissions with unknown keys are rejected as a whole.
#[serde(deny_unknown_fields)]
pub struct Permissions {
    /// The path of the file, for messages.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// Rules, such as `Bash(git push:*)`, whose calls are denied even if another rule allows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
    /// Rules whose calls need a decision even if another rule allows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ask: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Rules for the requests of other members that the lead may allow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approve: Vec<String>,
    /// Milliseconds after which an unanswered request is denied. `None`: not set here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_ms: Option<u64>,
}

impl Permissions {
    /// Whether any rule denies or asks.
    pub fn restricts(&self) -> bool {
        !self.deny.is_empty() || !self.ask.is_empty()
    }
}

/// The settings for calls that no rule decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PermissionDefaults {
    #[serde(default)]
    pub mode: Mode,
    /// No user is available to decide: calls that need a decision are denied, unless the lead may allow them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unattended: bool,
    /// The scope of a decision that does not name one.
    #[serde(default)]
    pub default_scope: Scope,
}
