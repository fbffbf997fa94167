//! The settings with which OpenCode asks the user about each call, and knows its team. Called by `opencode`.
//!
//! They are merged over the settings of the user and of the project, and are in no file of OpenCode.

use std::ffi::OsString;
use std::path::Path;

use serde_json::{Value, json};

/// The tools about which OpenCode does not ask: those of the MCP server `team`, by the names that OpenCode gives them, and its
/// own list of steps, which changes nothing else.
const UNASKED: [&str; 2] = ["team_*", "todowrite"];

/// The variable with settings.
pub(super) const CONFIG: &str = "OPENCODE_CONFIG_CONTENT";

/// The variable with the password of the server, which its interface reads, too.
pub(super) const PASSWORD: &str = "OPENCODE_SERVER_PASSWORD";

/// The variable with another user name than [`USER`].
pub(super) const USERNAME: &str = "OPENCODE_SERVER_USERNAME";

/// The user name of the server, unless a variable names another.
pub(super) const USER: &str = "opencode";

/// The content of [`CONFIG`]. `rules`: the file with the team's rules, which OpenCode adds to its system prompt.
pub(super) fn config(tools: &[OsString], rules: &Path) -> String {
    let command: Vec<_> = tools.iter().map(|word| word.to_string_lossy()).collect();
    let mut permission = json!({ "*": "ask" });
    for tool in UNASKED {
        permission[tool] = "allow".into();
    }
    let settings = json!({
        "permission": permission,
        "mcp": { "team": { "type": "local", "command": command, "enabled": true } },
        "instructions": [rules],
    });
    settings.to_string()
}

/// The permissions of a conversation. They take precedence over all settings, also over the tools that the user's
/// settings allow by name.
pub(super) fn permissions() -> Vec<Value> {
    let rule =
        |tool: &str, action: &str| json!({ "permission": tool, "pattern": "*", "action": action });
    let unasked = UNASKED.iter().map(|tool| rule(tool, "allow"));
    std::iter::once(rule("*", "ask")).chain(unasked).collect()
}
