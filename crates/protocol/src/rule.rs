//! Permission rules on the wire: the list of rules, and the evaluation of a call.

use serde::{Deserialize, Serialize};

use crate::id::{MemberName, RequestId};
use crate::request::{AskRequest, Scope};
use crate::value::Mode;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RuleListAnswer {
    /// In evaluation order: deny, ask and allow rules, then the rules by which the lead may allow requests.
    pub rules: Vec<RuleView>,
    /// The commands that the built-in rule for reading allows in a sandbox, if no deny or ask rule matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reading_commands: Vec<String>,
    /// The permission mode of the team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RuleView {
    pub effect: RulingView,
    /// `None`: exactly the call of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The request whose decision created the rule. `None`: the rule is from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// The scope of that decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The member that the rule applies to. `None`: all members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberName>,
    /// The file that contains the rule, unless a decision created it.
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
    /// The lead may allow the call for other members.
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
    /// The member that would make the call. `None`: a member with only the grants and the mode of the whole team.
    #[serde(default)]
    pub member: Option<MemberName>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct JudgementView {
    pub decision: RulingView,
    /// The parts in the order of the call. The strictest decision about a part is the decision about the call.
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
