//! The settings with which OpenCode asks the user about each call, and knows its team. Called by `opencode`.
//!
//! They are merged over the settings of the user and of the project, and are in no file of OpenCode.

use std::ffi::OsString;
use std::path::Path;

use serde_json::{Value, json};

/// The tools of the MCP server `team`, by the names that OpenCode gives them.
const TEAM_TOOLS: &str = "team_*";

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
    let settings = json!({
        "permission": { "*": "ask", TEAM_TOOLS: "allow" },
        "mcp": { "team": { "type": "local", "command": command, "enabled": true } },
        "instructions": [rules],
    });
    settings.to_string()
}

/// The permissions of a conversation. They take precedence over all settings, also over the tools that the user's
/// settings allow by name.
pub(super) fn permissions() -> Value {
    json!([
        { "permission": "*", "pattern": "*", "action": "ask" },
        { "permission": TEAM_TOOLS, "pattern": "*", "action": "allow" },
    ])
}
