//! The reference of all keys of the team file, of role files and of the user's settings. The man pages of section 5,
//! and the pages of `docs/reference` about these files, are generated from this reference. [`super::table::Table`]
//! reads only keys that the reference describes: a key without a description is refused as unknown.
//!
//! The tables are in `reference/team_file.rs`, `reference/roles.rs`, `reference/hooks.rs` and `reference/settings.rs`.

mod external;
mod hooks;
mod key;
mod roles;
mod settings;
mod team_file;
#[cfg(test)]
mod tests;

use super::unsupported::Level;

pub use key::{DefaultValue, KeyInfo, Kind, Manual, Section};
pub(super) use roles::ROLE_FILE;
pub use settings::SETTINGS;
pub use team_file::TEAM_FILE;

/// The section of a table of the team file. `None`: the keys of the table are names.
pub(super) fn section(level: Level) -> Option<&'static Section> {
    match level {
        Level::Root => Some(&team_file::ROOT),
        Level::Lead => Some(&team_file::LEAD),
        Level::Member => Some(&team_file::MEMBER),
        Level::Defaults => Some(&team_file::DEFAULTS),
        Level::Limits => Some(&team_file::LIMITS),
        Level::Budget => Some(&team_file::BUDGET),
        Level::Delegate => Some(&roles::DELEGATE_SETTINGS),
        Level::Panes => Some(&team_file::PANES),
        Level::Role => Some(&roles::ROLE),
        Level::Provider => Some(&external::PROVIDER),
        Level::Task => Some(&team_file::TASK),
        Level::Hooks => Some(&hooks::HOOKS),
        Level::UserHooks => Some(&hooks::USER_HOOKS),
        Level::Hook => Some(&hooks::HOOK),
        Level::Notify => Some(&team_file::NOTIFY),
        Level::Engine => Some(&team_file::ENGINE),
        Level::Permissions => Some(&team_file::PERMISSIONS),
        Level::McpServer => Some(&external::MCP_SERVER),
        Level::Search => Some(&external::SEARCH),
        Level::Roles | Level::Providers | Level::Mcp => None,
    }
}
