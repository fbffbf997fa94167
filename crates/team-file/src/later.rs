//! What the team file of the design knows and this build does not carry out yet. Such a key or value is refused: one
//! that is silently ignored would look as if it worked.

use super::table::Level;

/// Keys, by table.
const KEYS: &[(Level, &[&str])] = &[(Level::Lead, &["command"]), (Level::Member, &["command"])];

/// Values, by key.
const VALUES: &[(&str, &[&str])] = &[(
    "engine",
    &[
        "acp", "terminal", // The command lines of other agents, by name.
        "claude", "codex", "copilot", "gemini", "opencode", "qwen",
    ],
)];

pub(super) fn keys(level: Level) -> impl Iterator<Item = &'static str> {
    KEYS.iter()
        .filter(move |(at, _)| *at == level)
        .flat_map(|(_, keys)| keys.iter().copied())
}

pub(super) fn is_value(key: &str, value: &str) -> bool {
    VALUES
        .iter()
        .any(|(of, values)| *of == key && values.contains(&value))
}

/// What a person is told about it.
pub(super) fn sentence(what: &str) -> String {
    format!("`{what}` is not supported in this version")
}
