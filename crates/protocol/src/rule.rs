//! Permission rules on the wire: which there are, and what they say to a call.

use serde::{Deserialize, Serialize};

use crate::id::{MemberName, RequestId};
use crate::request::{AskRequest, Scope};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RuleListAnswer {
    /// In the order in which they are looked at: the first that fits decides.
    pub rules: Vec<RuleView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RuleView {
    pub effect: RulingView,
    /// `None`: exactly what the request asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Whose decision made it; `None`: it is of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// How far that decision reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Whom it is for; `None`: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberName>,
    /// The file that it stands in, unless a decision made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RulingView {
    Allow,
    Ask,
    Deny,
    /// The lead may allow it to others.
    Approve,
    #[serde(other)]
    Unknown,
}

/// Arguments of `rule/forget`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ForgetRule {
    pub rule: String,
}

/// Arguments of `rule/check`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CheckRules {
    pub call: AskRequest,
    /// Who would make it; `None`: somebody whom no grant of her own is for.
    #[serde(default)]
    pub member: Option<MemberName>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct JudgementView {
    pub decision: RulingView,
    /// In the order of the call; the strictest is the decision.
    pub parts: Vec<PartView>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PartView {
    /// A command, a file, an address or a tool.
    pub what: String,
    pub decision: RulingView,
    pub why: String,
}
