//! The messages of the Agent Client Protocol, version 1, that the worker sends or reads. Bare data: `acp` exchanges
//! them. Unknown fields are ignored, and unknown variants become `Other`, because agents are newer or older than the
//! worker.
//!
//! These types are written by hand: the official crate enables `serde_json/preserve_order` for the whole workspace,
//! which would change the order of the fields in every JSON document and in every tool definition.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// The version that the worker speaks.
pub(super) const VERSION: u64 = 1;

/// The answer to `initialize`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Handshake {
    pub(super) protocol_version: u64,
    pub(super) agent_info: Option<AgentInfo>,
    pub(super) auth_methods: Vec<AuthMethod>,
    pub(super) agent_capabilities: Capabilities,
    #[serde(rename = "_meta")]
    pub(super) meta: Value,
}

impl Handshake {
    /// Whether messages can join a turn by `_session/steering`.
    pub(super) fn declares_steering(&self) -> bool {
        let metas = [&self.agent_capabilities.meta, &self.meta];
        metas
            .iter()
            .any(|meta| meta["steering"]["supported"] == true)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AgentInfo {
    pub(super) name: String,
    pub(super) version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AuthMethod {
    name: String,
    #[serde(rename = "_meta")]
    meta: Value,
}

impl AuthMethod {
    /// The name of the method, and the command that logs in, if the agent reports one.
    pub(super) fn offer(&self) -> String {
        let login = &self.meta["terminal-auth"];
        let program = login["command"].as_str().map(Path::new);
        let Some(program) = program.and_then(Path::file_name) else {
            return self.name.clone();
        };
        let mut command = program.to_string_lossy().into_owned();
        let args = login["args"].as_array().into_iter().flatten();
        for arg in args.filter_map(Value::as_str) {
            command.push(' ');
            command.push_str(arg);
        }
        format!("{} (`{command}`)", self.name)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Capabilities {
    pub(super) load_session: bool,
    pub(super) session_capabilities: SessionCapabilities,
    #[serde(rename = "_meta")]
    pub(super) meta: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SessionCapabilities {
    pub(super) resume: Option<Value>,
}

/// The answer to the requests that open a session.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct OpenedSession {
    pub(super) session_id: String,
    pub(super) modes: Option<Modes>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Modes {
    pub(super) available_modes: Vec<SessionMode>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SessionMode {
    pub(super) id: String,
}

/// The answer to `session/prompt`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PromptEnd {
    pub(super) stop_reason: StopReason,
    /// The tokens of the turn: [`TokenCounts`]. Not parsed here: an invalid count must not fail the turn.
    #[serde(default)]
    pub(super) usage: Value,
    #[serde(default, rename = "_meta")]
    pub(super) meta: Value,
}

impl PromptEnd {
    pub(super) fn without_usage(stop_reason: StopReason) -> Self {
        Self {
            stop_reason,
            usage: Value::Null,
            meta: Value::Null,
        }
    }
}

/// Reported tokens.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TokenCounts {
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) total_tokens: Option<u64>,
    pub(super) thought_tokens: Option<u64>,
    pub(super) cached_read_tokens: Option<u64>,
    pub(super) cached_write_tokens: Option<u64>,
}

/// The cost of a session.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cost {
    pub(super) amount: f64,
    pub(super) currency: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StopReason {
    EndTurn,
    MaxTokens,
    MaxTurnRequests,
    Refusal,
    Cancelled,
    /// The user has ended the turn in the agent's own terminal interface. The protocol does not contain this reason.
    #[serde(skip)]
    Interrupted,
    #[serde(other)]
    Other,
}

/// The parameters of `session/update`.
#[derive(Debug, Deserialize)]
pub(super) struct Updated {
    pub(super) update: SessionUpdate,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "sessionUpdate", rename_all = "snake_case")]
pub(super) enum SessionUpdate {
    AgentMessageChunk {
        content: ContentBlock,
        #[serde(default, rename = "_meta")]
        meta: Value,
    },
    AgentThoughtChunk {
        content: ContentBlock,
    },
    ToolCall(ToolCall),
    ToolCallUpdate(ToolCall),
    Plan {
        entries: Vec<PlanEntry>,
    },
    UsageUpdate {
        used: u64,
        size: u64,
        #[serde(default)]
        cost: Option<Cost>,
    },
    /// The tokens and the cost of one answer of the model. The protocol does not contain this update.
    #[serde(skip)]
    Spent {
        /// [`TokenCounts`].
        tokens: Value,
        usd: f64,
    },
    #[serde(rename_all = "camelCase")]
    CurrentModeUpdate {
        current_mode_id: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
pub(super) struct PlanEntry {
    #[serde(default)]
    pub(super) content: String,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ContentBlock {
    Text {
        text: String,
    },
    #[serde(other)]
    Other,
}

/// A call of the agent, or the changed fields of a call.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolCall {
    pub(super) tool_call_id: String,
    #[serde(default)]
    pub(super) title: Option<String>,
    #[serde(default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) content: Option<Vec<CallContent>>,
    #[serde(default)]
    pub(super) locations: Option<Vec<Location>>,
    #[serde(default)]
    pub(super) raw_input: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Location {
    pub(super) path: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum CallContent {
    Content {
        content: ContentBlock,
    },
    #[serde(rename_all = "camelCase")]
    Diff {
        path: PathBuf,
        #[serde(default)]
        old_text: Option<String>,
        new_text: String,
    },
    /// The diff of a file, with its header. The protocol does not contain this content.
    #[serde(skip)]
    Patch {
        path: PathBuf,
        diff: String,
    },
    #[serde(other)]
    Other,
}

/// The parameters of `session/request_permission`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PermissionAsked {
    pub(super) tool_call: ToolCall,
    #[serde(default)]
    pub(super) options: Vec<PermissionOption>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PermissionOption {
    pub(super) option_id: String,
    #[serde(default)]
    pub(super) kind: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_way_to_log_in_names_its_command() {
        let offer = |method: Value| {
            serde_json::from_value::<AuthMethod>(method)
                .unwrap()
                .offer()
        };
        let terminal = json!({ "command": "/opt/bin/kimi", "args": ["login", 1, "--device"] });
        let method = json!({ "name": "Kimi", "_meta": { "terminal-auth": terminal } });
        assert_eq!(offer(method), "Kimi (`kimi login --device`)");
        for meta in [
            json!(null),
            json!({}),
            json!({ "terminal-auth": { "command": "" } }),
        ] {
            assert_eq!(
                offer(json!({ "name": "API key", "_meta": meta })),
                "API key"
            );
        }
    }
}
