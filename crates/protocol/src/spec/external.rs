//! Agents of other vendors in the desired state of a member. Bare data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Another vendor's agent: a program that speaks the Agent Client Protocol on stdin and stdout, or the agent's own
/// terminal interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExternalAgent {
    /// Its name in the team file, or the file name of its program.
    pub name: String,
    /// The program that speaks the protocol, and its arguments. Empty with `terminal`.
    pub command: Vec<String>,
    /// Environment variables that the program gets in addition to the member's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The mode that every session is set to. `None`: the agent's own mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    #[serde(default)]
    pub steering: Steering,
    /// The agent's own terminal interface, instead of `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<OwnTerminal>,
}

/// The terminal interface of another vendor's agent, with a side channel for tasks, messages and permissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OwnTerminal {
    /// The program. The side channel adds its arguments.
    pub command: Vec<String>,
    pub channel: SideChannelKind,
}

/// How the worker exchanges messages with an agent that runs in its own terminal interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SideChannelKind {
    /// By the hooks of Claude Code.
    ClaudeHooks,
    /// By the app-server of Codex. The terminal interface of Codex is a second client of this server.
    CodexAppServer,
    /// By the HTTP server of OpenCode. The terminal interface of OpenCode is a second client of this server.
    #[serde(rename = "opencode_server")]
    OpenCodeServer,
    /// By the hooks of Qwen Code, and the two files of its dual output.
    QwenFiles,
    /// A value from a newer version: no member is launched with it.
    #[serde(other)]
    Unknown,
}

/// How a message reaches an external agent during a turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Steering {
    /// By the request `_session/steering`, if the agent declares it; otherwise after the turn.
    #[default]
    Declared,
    /// The agent asks for messages with `craft/drainMidTurnQueue`.
    Drain,
    /// A second prompt joins the turn.
    Prompt,
    /// After the turn.
    #[serde(other)]
    AfterTurn,
}
