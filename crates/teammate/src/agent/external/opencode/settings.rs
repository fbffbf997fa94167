//! The settings that make OpenCode ask the user about each call, and that connect it to its team. Called by `opencode`.
//!
//! OpenCode merges these settings over those of the user and of the project. No file of OpenCode contains them.

use std::ffi::OsString;
use std::path::Path;

use serde_json::{Value, json};

/// The tools about which OpenCode does not ask: the tools of the MCP server `team`, by the names that OpenCode gives
/// them, and OpenCode's own list of steps, which changes nothing else.
const UNASKED: [&str; 2] = ["team_*", "todowrite"];

/// The variable with settings.
pub(super) const CONFIG: &str = "OPENCODE_CONFIG_CONTENT";

/// The variable with the password of the server, which its interface reads, too.
pub(super) const PASSWORD: &str = "OPENCODE_SERVER_PASSWORD";

/// The variable that replaces the user name [`USER`].
pub(super) const USERNAME: &str = "OPENCODE_SERVER_USERNAME";

/// The user name of the server, unless [`USERNAME`] is set.
pub(super) const USER: &str = "opencode";

/// The address of this machine at which the server listens.
pub(super) const HOST: &str = "127.0.0.1";

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

/// Makes a program connect directly to the server of this machine. Otherwise, the interface would send its requests to
/// the proxy of the environment, which reaches another machine.
pub(super) fn without_proxy(env: &mut Vec<(OsString, OsString)>) {
    for name in ["no_proxy", "NO_PROXY"] {
        let mut except = OsString::from(HOST);
        env.retain(|(given, value)| {
            if given == name && !value.is_empty() {
                except.push(",");
                except.push(value);
            }
            given != name
        });
        env.push((name.into(), except));
    }
}

/// The permissions of a conversation. They take precedence over all settings, even over the user's settings that allow
/// a tool by name.
pub(super) fn permissions() -> Vec<Value> {
    let rule =
        |tool: &str, action: &str| json!({ "permission": tool, "pattern": "*", "action": action });
    let unasked = UNASKED.iter().map(|tool| rule(tool, "allow"));
    std::iter::once(rule("*", "ask")).chain(unasked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_uses_no_proxy_for_this_machine() {
        let given = [
            ("NO_PROXY", "a.example"),
            ("HTTP_PROXY", "http://b.example"),
        ];
        let mut env: Vec<(OsString, OsString)> = given.map(|(n, v)| (n.into(), v.into())).into();
        without_proxy(&mut env);
        let expected = [
            ("HTTP_PROXY", "http://b.example"),
            ("no_proxy", "127.0.0.1"),
            ("NO_PROXY", "127.0.0.1,a.example"),
        ];
        assert_eq!(env, expected.map(|(n, v)| (n.into(), v.into())));
    }
}
