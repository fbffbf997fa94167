//! The messages of the Agent Client Protocol, version 1, that the server reads and sends. Bare data. Unknown fields are
//! ignored: editors are newer or older than this server.

use std::path::PathBuf;

use agent_team_client::json_rpc::RpcFault;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::Failure;

/// The version that this server speaks.
const VERSION: u64 = 1;

/// Codes of errors.
pub(super) const INVALID_REQUEST: i64 = -32600;
pub(super) const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const INTERNAL: i64 = -32603;
const NOT_FOUND: i64 = -32002;

#[derive(Debug, Deserialize)]
pub(super) struct NewSession {
    pub(super) cwd: PathBuf,
}

/// The parameters of `session/load` and `session/resume`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExistingSession {
    pub(super) session_id: String,
    pub(super) cwd: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ListSessions {
    #[serde(default)]
    pub(super) cwd: Option<PathBuf>,
}

/// The session that a request names.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfSession {
    pub(super) session_id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Prompt {
    pub(super) prompt: Vec<ContentBlock>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetMode {
    pub(super) mode_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ContentBlock {
    Text {
        text: String,
    },
    ResourceLink {
        name: String,
        uri: String,
    },
    Resource {
        resource: Resource,
    },
    Image {},
    Audio {},
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
pub(super) struct Resource {
    pub(super) uri: String,
    /// `None`: the resource is binary.
    #[serde(default)]
    pub(super) text: Option<String>,
}

pub(super) fn parse<P: DeserializeOwned>(params: &Value) -> Result<P, RpcFault> {
    P::deserialize(params).map_err(|error| invalid(&error.to_string()))
}

pub(super) fn invalid(why: &str) -> RpcFault {
    fault(INVALID_PARAMS, &format!("invalid parameters: {why}"))
}

pub(super) fn unknown_session(id: &str) -> RpcFault {
    fault(NOT_FOUND, &format!("unknown session {id:?}"))
}

pub(super) fn fault(code: i64, message: &str) -> RpcFault {
    RpcFault {
        code,
        message: message.to_owned(),
    }
}

pub(super) fn internal(why: &str) -> RpcFault {
    fault(INTERNAL, why)
}

/// The error, with its hint on a second line.
pub(super) fn failed(failure: &Failure) -> RpcFault {
    internal(&failure.with_hint())
}

/// The answer to `initialize`.
pub(super) fn initialized() -> Value {
    json!({
        "protocolVersion": VERSION,
        "agentInfo": { "name": "agent-team", "title": "agent-team", "version": env!("CARGO_PKG_VERSION") },
        "agentCapabilities": {
            "loadSession": true,
            "promptCapabilities": { "image": false, "audio": false, "embeddedContext": true },
            "mcpCapabilities": { "http": false, "sse": false },
            "sessionCapabilities": { "list": {}, "resume": {}, "close": {} },
        },
        "authMethods": [],
    })
}

/// Why a prompt has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    EndTurn,
    MaxTurnRequests,
    Cancelled,
}

pub(super) fn prompt_end(reason: StopReason) -> Value {
    let reason = match reason {
        StopReason::EndTurn => "end_turn",
        StopReason::MaxTurnRequests => "max_turn_requests",
        StopReason::Cancelled => "cancelled",
    };
    json!({ "stopReason": reason })
}

/// Whose text a chunk contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaker {
    User,
    Agent,
    Thought,
}

/// A part of a message. Parts with the same `message` belong together.
pub(super) fn chunk(speaker: Speaker, text: &str, message: &str) -> Value {
    let kind = match speaker {
        Speaker::User => "user_message_chunk",
        Speaker::Agent => "agent_message_chunk",
        Speaker::Thought => "agent_thought_chunk",
    };
    json!({ "sessionUpdate": kind, "content": text_block(text), "messageId": message })
}

pub(super) fn text_block(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

/// A block of Markdown that shows the text as it is. The fence is longer than each run of backquotes in the text, so
/// that the text cannot end the block.
pub(super) fn code_block(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max();
    let fence = "`".repeat(longest.unwrap_or_default().max(2) + 1);
    let text = text.strip_suffix('\n').unwrap_or(text);
    format!("{fence}\n{text}\n{fence}\n")
}

/// A text as content of a tool call.
pub(super) fn text_content(text: &str) -> Value {
    json!({ "type": "content", "content": text_block(text) })
}
