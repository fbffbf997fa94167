//! Reads `durability`, the only key that the supervisor uses, from the user's `config.toml`. Called at start-up and
//! before a restart. An invalid value is refused with its position, never ignored.

use std::io;
use std::path::{Path, PathBuf};

use agent_team_protocol::text::position;
use agent_team_protocol::{ErrorCode, Refusal};
use agent_team_store::Durability;
use agent_team_system::directories::Directories;
use toml::de::{DeTable, DeValue};

const DURABILITY: &str = "durability";

/// Keys that only other programs read and validate: the programs that load team files, and agent workers.
const OTHERS: [&str; 7] = [
    "roles",
    "models",
    "search",
    "permissions",
    "sandbox",
    "notify",
    "hooks",
];

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read {}: {source}", file.display())]
    Read { file: PathBuf, source: io::Error },
    /// The message begins with the position: file, line and column.
    #[error("{0}")]
    Fault(Refusal),
}

impl From<SettingsError> for Refusal {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Fault(refusal) => refusal,
            error @ SettingsError::Read { .. } => {
                Refusal::new(ErrorCode::Invalid, error.to_string())
            }
        }
    }
}

/// `durability = "power"` (the default) or `"process"`.
pub(crate) fn durability(directories: &Directories) -> Result<Durability, SettingsError> {
    let file = directories.settings_file();
    match std::fs::read_to_string(&file) {
        Ok(text) => parse(&file, &text).map_err(SettingsError::Fault),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Durability::Power),
        Err(source) => Err(SettingsError::Read { file, source }),
    }
}

fn parse(file: &Path, text: &str) -> Result<Durability, Refusal> {
    let invalid = |at, what: &str| {
        let (line, column) = position(text, at);
        let text = format!("{}:{line}:{column}: {what}", file.display());
        Refusal::new(ErrorCode::Invalid, text)
    };
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        invalid(at, error.message().trim())
    })?;
    let mut durability = Durability::Power;
    for (key, value) in table.get_ref() {
        let name: &str = key.get_ref();
        if OTHERS.contains(&name) {
            continue;
        }
        if name != DURABILITY {
            let refusal = invalid(key.span().start, &format!("unknown key `{name}`"));
            return Err(refusal.hint(suggestion(name)));
        }
        durability = match value.get_ref() {
            DeValue::String(word) if word == "power" => Durability::Power,
            DeValue::String(word) if word == "process" => Durability::Process,
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                let what = "`durability` must be \"power\" or \"process\"";
                return Err(invalid(value.span().start, what));
            }
        };
    }
    Ok(durability)
}

/// Suggests `durability` for a similar name, otherwise all known keys.
fn suggestion(name: &str) -> String {
    if strsim::damerau_levenshtein(name, DURABILITY) <= DURABILITY.len() / 3 {
        format!("did you mean `{DURABILITY}`?")
    } else {
        format!("known keys: {DURABILITY}, {}", OTHERS.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Durability, Refusal> {
        super::parse("config.toml".as_ref(), text)
    }

    #[test]
    fn durability_defaults_to_power() {
        assert_eq!(parse("").unwrap(), Durability::Power);
        assert_eq!(parse("durability = \"power\"").unwrap(), Durability::Power);
        assert_eq!(parse("[roles.x]").unwrap(), Durability::Power);
        assert_eq!(parse("[models.openai]").unwrap(), Durability::Power);
        assert_eq!(parse("[permissions]").unwrap(), Durability::Power);
        assert_eq!(
            parse("durability = \"process\"").unwrap(),
            Durability::Process
        );
    }

    #[test]
    fn invalid_settings_are_refused_with_their_position() {
        for (text, prefix) in [
            (
                "durability = \"none\"",
                "config.toml:1:14: `durability` must be",
            ),
            (
                "# é\n\ndurability = 1",
                "config.toml:3:14: `durability` must be",
            ),
            ("durability =", "config.toml:1:"),
            (
                "durabilty = \"power\"",
                "config.toml:1:1: unknown key `durabilty`",
            ),
        ] {
            let refusal = parse(text).unwrap_err();
            assert!(refusal.message.starts_with(prefix), "{refusal}");
        }
        let nearest = parse("durabilty = \"power\"").unwrap_err().hint;
        assert_eq!(nearest.as_deref(), Some("did you mean `durability`?"));
        let all = parse("colour = 1").unwrap_err().hint;
        assert_eq!(
            all.as_deref(),
            Some(
                "known keys: durability, roles, models, search, permissions, sandbox, notify, hooks"
            )
        );
    }
}
