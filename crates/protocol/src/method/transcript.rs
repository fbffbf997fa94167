//! Arguments and answers of `transcript/*`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::id::{MemberName, MessageId};
use crate::notification::Allowance;
use crate::view::Usage;

/// Longest item of a transcript, in bytes of its JSON.
pub const ITEM_MAX: usize = 512 << 10;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AppendTranscript {
    /// As the engine has them; the supervisor never looks inside.
    #[cfg_attr(test, schemars(with = "Vec<serde_json::Value>"))]
    pub items: Vec<Box<RawValue>>,
    /// Messages that are among the items, and so are read.
    #[serde(default)]
    pub read: Vec<MessageId>,
    /// What the model's answers among the items cost.
    #[serde(default)]
    pub usage: Usage,
    /// The member has nothing more to do until somebody speaks to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rests: Option<Rest>,
}

/// How a member's turn ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rest {
    /// Its last words, for the lead who has not heard of it in this turn otherwise. Empty: nothing to say.
    #[serde(default)]
    pub report: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TranscriptAnswer {
    /// Items stored so far.
    pub length: u64,
    #[serde(default)]
    pub allowance: Allowance,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReadTranscript {
    /// Whose; a member may leave it out to mean its own.
    #[serde(default)]
    pub member: Option<MemberName>,
    /// Items before the first that is wanted.
    #[serde(default)]
    pub after: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TranscriptPage {
    #[cfg_attr(test, schemars(with = "Vec<serde_json::Value>"))]
    pub items: Vec<Box<RawValue>>,
    /// There are more after the last of these.
    #[serde(default)]
    pub more: bool,
}
