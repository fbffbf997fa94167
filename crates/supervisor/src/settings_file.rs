//! The user's own settings, as far as the supervisor goes by them: `config.toml` in the configuration directory.

use std::io;
use std::path::{Path, PathBuf};

use agent_team_store::Durability;
use agent_team_system::directories::Directories;

/// Why the settings cannot be gone by.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("{} is not TOML", .0.display())]
    Toml(PathBuf, #[source] Box<toml::de::Error>),
    #[error("{}: durability is \"power\" or \"process\"", .0.display())]
    Durability(PathBuf),
}

/// `durability = "power"` (the default) or `"process"`.
pub(crate) fn durability(directories: &Directories) -> Result<Durability, SettingsError> {
    let file = directories.config.join("config.toml");
    match std::fs::read_to_string(&file) {
        Ok(text) => parse(&file, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Durability::Power),
        Err(error) => Err(SettingsError::Read(file, error)),
    }
}

fn parse(file: &Path, text: &str) -> Result<Durability, SettingsError> {
    let table: toml::Table = text
        .parse()
        .map_err(|error| SettingsError::Toml(file.to_owned(), Box::new(error)))?;
    match table.get("durability").map(toml::Value::as_str) {
        None | Some(Some("power")) => Ok(Durability::Power),
        Some(Some("process")) => Ok(Durability::Process),
        Some(_) => Err(SettingsError::Durability(file.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durability_is_power_unless_the_user_says_process() {
        let parse = |text| parse("config.toml".as_ref(), text);
        assert_eq!(parse("").unwrap(), Durability::Power);
        assert_eq!(parse("durability = \"power\"").unwrap(), Durability::Power);
        assert_eq!(
            parse("durability = \"process\"").unwrap(),
            Durability::Process
        );
        assert!(matches!(
            parse("durability = \"none\""),
            Err(SettingsError::Durability(_))
        ));
        assert!(matches!(
            parse("durability = 1"),
            Err(SettingsError::Durability(_))
        ));
        assert!(matches!(
            parse("durability ="),
            Err(SettingsError::Toml(..))
        ));
    }
}
