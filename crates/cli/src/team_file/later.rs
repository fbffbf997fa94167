//! What the team file of the design knows and this build does not carry out yet. Such a key or value is refused: one
//! that is silently ignored would look as if it worked.

use super::table::Level;

const OF_AN_AGENT: &[&str] = &[
    "model",
    "prompt",
    "max_steps",
    "tools",
    "deny_tools",
    "plan",
];

/// Keys, by table.
const KEYS: &[(Level, &[&str])] = &[
    (
        Level::Root,
        &["max_rounds", "coordinator_prompt", "permissions", "mcp"],
    ),
    (Level::Lead, OF_AN_AGENT),
    (Level::Lead, &["command", "may_spawn"]),
    (Level::Member, OF_AN_AGENT),
    (Level::Member, &["command"]),
    (Level::Defaults, &["model", "max_steps"]),
    (Level::Limits, &["tokens", "usd", "minutes"]),
    (Level::Role, OF_AN_AGENT),
];

/// Values, by key.
const VALUES: &[(&str, &[&str])] = &[
    ("mode", &["lead", "coordinator", "collaborate"]),
    ("engine", &["native", "acp", "terminal"]),
    ("placement", &["iterm", "hosted"]),
    ("layout", &["windows"]),
];

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
    format!("`{what}` is not carried out by this build yet")
}
