//! Reads `[sandbox]` of the user's `config.toml` when a worker starts. A team file has no such table: a project must
//! not be able to open the sandbox.

use std::io;
use std::path::{Path, PathBuf};

use agent_team_system::limits::memory_bytes;
use serde::Deserialize;

/// The user's sandbox settings, for every team.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Additional readable paths of the home directory: absolute, or `~/…`.
    pub readable: Vec<String>,
    /// Limit of the number of processes of all commands of a member.
    pub processes: u64,
    /// Limit of the memory of all commands of a member.
    pub memory_mib: u64,
    /// Limit of the number of open files of one process.
    pub open_files: u64,
    /// Limit of the size of one file.
    pub file_mib: u64,
    /// Limit of the size of one command's `/tmp` under bubblewrap, which is kept in memory.
    pub temporary_mib: u64,
    /// Free disk space to preserve: below this limit, no command starts, and running commands are terminated. 0: no
    /// limit.
    pub free_mib: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        // Leave a quarter of the memory free, so that the machine stays responsive.
        let three_quarters = |bytes: u64| bytes / 4 * 3;
        let memory = memory_bytes().map_or(16 << 30, three_quarters);
        Settings {
            readable: Vec::new(),
            processes: 4096,
            memory_mib: memory >> 20,
            open_files: 16_384,
            file_mib: 16_384,
            temporary_mib: (memory / 3) >> 20,
            free_mib: 100,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    sandbox: Settings,
}

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read {}: {source}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("{}: {text}", file.display())]
    Invalid { file: PathBuf, text: String },
}

impl Settings {
    /// Reads the file; returns the defaults if it does not exist.
    ///
    /// # Errors
    /// If the file cannot be read, or contains an invalid value.
    pub fn read(file: &Path) -> Result<Settings, SettingsError> {
        let invalid = |text: String| SettingsError::Invalid {
            file: file.to_owned(),
            text,
        };
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Settings::default()),
            Err(source) => {
                let file = file.to_owned();
                return Err(SettingsError::Read { file, source });
            }
        };
        let File { sandbox } =
            toml::from_str(&text).map_err(|error| invalid(error.to_string().trim().to_owned()))?;
        let limits = [
            ("processes", sandbox.processes),
            ("memory_mib", sandbox.memory_mib),
            ("open_files", sandbox.open_files),
            ("file_mib", sandbox.file_mib),
            ("temporary_mib", sandbox.temporary_mib),
        ];
        if let Some((name, _)) = limits.iter().find(|(_, limit)| *limit == 0) {
            return Err(invalid(format!(
                "cannot use {name} = 0 in [sandbox]: no command could run; omit it for the default"
            )));
        }
        let relative = |path: &&String| !(path.starts_with('/') || path.starts_with("~/"));
        match sandbox.readable.iter().find(relative) {
            None => Ok(sandbox),
            Some(path) => Err(invalid(format!(
                "cannot use readable path \"{path}\" in [sandbox]: it must be absolute or start with ~/"
            ))),
        }
    }

    /// The configured readable paths, made absolute.
    pub(super) fn readable(&self, homes: &[PathBuf]) -> Vec<PathBuf> {
        let paths = self
            .readable
            .iter()
            .flat_map(|path| match path.strip_prefix("~/") {
                Some(below) => homes.iter().map(|home| home.join(below)).collect(),
                None => vec![PathBuf::from(path)],
            });
        paths.collect()
    }
}
