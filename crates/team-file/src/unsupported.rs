//! Keys and values that are reserved for later versions. agent-team refuses them: if it ignored them, they would seem
//! to work.

/// The kind of a table. Determines which reserved keys it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Root,
    Lead,
    Member,
    Defaults,
    Limits,
    Budget,
    /// `delegate` of an agent.
    Delegate,
    Panes,
    Roles,
    Role,
    Providers,
    Provider,
    Task,
    Hooks,
    /// `[hooks]` of the user's settings.
    UserHooks,
    Hook,
    Notify,
    Permissions,
    Mcp,
    McpServer,
    Search,
    Engine,
}

/// The reserved keys of each table.
const KEYS: &[(Level, &[&str])] = &[(Level::Lead, &["command"]), (Level::Member, &["command"])];

/// The reserved values of each key.
const VALUES: &[(&str, &[&str])] = &[("engine", &["acp"])];

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

pub(super) fn message(name: &str) -> String {
    format!("`{name}` is not supported in this version")
}
