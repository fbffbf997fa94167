//! Reads the user's `config.toml` once per load, but only the tables and keys that a team file can also contain. Called
//! when a team or its roles are read. The supervisor and the workers read the other keys.

use std::path::Path;

use agent_team_protocol::RoleName;
use agent_team_protocol::spec::{HookSpec, Notify, Search};

use super::agent::Reader;
use super::open::read_user_file;
use super::permissions::{self, PermissionSettings};
use super::role::{self, Role};
use super::source::Fault;
use super::unsupported::Level;
use super::{hooks, notify, search};

/// The user's `config.toml`. If the file does not exist, it has no values and no faults.
#[derive(Debug, Default)]
pub(super) struct UserConfig {
    pub(super) permissions: Option<PermissionSettings>,
    pub(super) notify: Option<Notify>,
    pub(super) search: Option<Search>,
    pub(super) hooks: Vec<HookSpec>,
    /// The roles. Each role contains its faults, which matter only if the team uses the role.
    pub(super) roles: Vec<(RoleName, Role)>,
    /// The faults outside the roles.
    pub(super) faults: Vec<Fault>,
}

impl UserConfig {
    /// Reads the file in the directory `settings`.
    pub(super) fn read(settings: Option<&Path>, reader: Reader<'_>) -> Self {
        let mut config = Self::default();
        let Some(settings) = settings else {
            return config;
        };
        let faults = read_user_file(&settings.join("config.toml"), |source, root| {
            let permissions = root.table("permissions", Level::Permissions);
            config.permissions = permissions.map(|table| permissions::read(source, table));
            config.notify = notify::read(source, root);
            config.search = search::read(source, root.table("search", Level::Search));
            config.hooks = hooks::of_user(source, root.table("hooks", Level::UserHooks));
            let roles = root.table("roles", Level::Roles);
            let roles = roles.map(|table| table.named_tables(Level::Role));
            // Take these faults now: `role::of_user` assigns all faults of `source` to the role.
            config.faults = source.take_faults();
            for (name, table) in roles.unwrap_or_default() {
                match name.value.parse() {
                    Ok(parsed) => {
                        let role = role::of_user(source, name.at, table, reader);
                        config.roles.push((parsed, role));
                    }
                    Err(error) => {
                        source.fault(name.at, format!("{error}"));
                        config.faults.extend(source.take_faults());
                    }
                }
            }
        });
        config.faults.extend(faults);
        config
    }
}
