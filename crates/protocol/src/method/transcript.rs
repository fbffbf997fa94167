//! Arguments and answers of `transcript/*`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::id::{MemberName, MessageId};
use crate::notification::Allowance;
use crate::view::Usage;

/// Maximum length of an item, in bytes of its JSON.
pub const ITEM_MAX: usize = 512 << 10;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AppendTranscript {
    /// Items in the engine's format; the supervisor does not interpret them.
    #[cfg_attr(test, schemars(with = "Vec<serde_json::Value>"))]
    pub items: Vec<Box<RawValue>>,
    /// Messages contained in the items; they count as read.
    #[serde(default)]
    pub read: Vec<MessageId>,
    /// Tokens and cost of the model replies among the items.
    #[serde(default)]
    pub usage: Usage,
    /// The files that the calls among the items have changed, as absolute paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// Set if the turn has ended.
    #[serde(rename = "rests", default, skip_serializing_if = "Option::is_none")]
    pub turn_end: Option<TurnEnd>,
}

/// How a member's turn ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TurnEnd {
    /// The last text of the turn. The lead receives it as a message, unless the text is empty or the lead has already
    /// received a report from the member in this turn.
    #[serde(default)]
    pub report: String,
    /// Why the turn could not continue, in one line: the member's model failed, the limit of steps is reached, or the
    /// model repeats itself. `None`: the model ended the turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TranscriptAnswer {
    /// Number of items stored so far.
    pub length: u64,
    #[serde(default)]
    pub allowance: Allowance,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReadTranscript {
    /// `None`: the calling member. The user must name a member.
    #[serde(default)]
    pub member: Option<MemberName>,
    /// Number of items to skip.
    #[serde(default)]
    pub after: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TranscriptPage {
    #[cfg_attr(test, schemars(with = "Vec<serde_json::Value>"))]
    pub items: Vec<Box<RawValue>>,
    /// More items follow the last one of this page.
    #[serde(default)]
    pub more: bool,
}
