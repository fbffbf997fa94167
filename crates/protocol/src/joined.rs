//! The conversation between `agent-team mcp` and the worker of a joined member, over the socket of the member's launch:
//! one frame and one answer per connection, each as one line of JSON. The caller confirms an answer with another line.
//!
//! The first connection joins. It stays open for as long as the chat session lives; when it closes, the launch ends.
//! Each call has a connection of its own; closing it cancels the call.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Maximum length of a line, in bytes.
pub const LINE_MAX: usize = 1 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinedFrame {
    /// Become the member's chat session. Answered with [`JoinAnswer`].
    Join {},
    /// Call a team tool. Only the process that has joined may call. Answered with [`ToolAnswer`].
    Call {
        tool: String,
        input: Box<RawValue>,
        /// The caller sends [`Self::Received`] after the answer. A caller of an earlier version does not.
        #[serde(default)]
        confirms: bool,
    },
    /// `agent-team mcp` has received the answer, and the chat session still waits for the result. The messages in the
    /// answer count as read.
    Received {},
}

#[derive(Debug, Serialize, Deserialize)]
pub struct JoinAnswer {
    pub tools: Vec<JoinedTool>,
    pub unread: usize,
    /// Why the process cannot join.
    #[serde(default)]
    pub refused: Option<String>,
}

/// A team tool, as a chat session receives it.
#[derive(Debug, Serialize, Deserialize)]
pub struct JoinedTool {
    pub name: String,
    pub description: String,
    /// A JSON Schema.
    pub input: Box<RawValue>,
    /// The tool changes nothing.
    pub reads: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ToolAnswer {
    pub text: String,
    /// The call failed, and `text` is the reason.
    pub failed: bool,
    /// The number of messages that the member has not read.
    pub unread: usize,
}
