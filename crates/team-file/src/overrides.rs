//! The user's overrides for one team, which `agent-team config set` stores. Called when the team is read, and by the
//! CLI.
//!
//! Overrides take precedence over the team file and the roles. They are stored outside the project, in
//! `teams/<team-id>.toml` in the directory of the user's settings, one line per key.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use agent_team_protocol::spec::Budget;
use agent_team_protocol::value::Effort;
use agent_team_protocol::{MemberName, RoleName, TeamId};
use agent_team_providers::{ModelName, PROVIDERS, Provider};
use serde::Serialize;

use super::budget;
use super::open::{ReadTextError, read_text};
use super::source::Fault;
use super::table::suggest;

/// A setting of the team or of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    Model,
    Effort,
    Role,
    MaxSteps,
    Tokens,
    Usd,
    Minutes,
}

pub(super) const ITEMS: [(&str, Item); 7] = [
    ("model", Item::Model),
    ("effort", Item::Effort),
    ("role", Item::Role),
    ("max_steps", Item::MaxSteps),
    ("limits.tokens", Item::Tokens),
    ("limits.usd", Item::Usd),
    ("limits.minutes", Item::Minutes),
];

/// A key of `agent-team config`: `model`, `members.ada.model`, `roles.worker.model`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The default for all members.
    Team(Item),
    Member(MemberName, Item),
    /// The model of a role. The other keys of a role can be set only in its file.
    RoleModel(RoleName),
    /// The base URL of a provider. An override of it also permits agent-team to send the user's API key to this URL.
    BaseUrl(&'static Provider),
}

/// Why a key or its value is refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("there is no setting {key:?}")]
    Unknown { key: String, hint: String },
    #[error("cannot set {key} to {value:?}: {why}")]
    Value {
        key: Key,
        value: String,
        why: String,
    },
}

/// Why the overrides cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum OverridesError {
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] ReadTextError),
    #[error("{}", .0)]
    Fault(Fault),
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] std::io::Error),
}

/// The current value of one key and its origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub key: String,
    /// `None`: the key is not set, and `from` describes the fallback.
    pub value: Option<String>,
    /// The origin of the value: a file with its line, or a description.
    pub from: String,
}

/// The overrides of one team.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    file: PathBuf,
    /// Values in canonical form.
    values: BTreeMap<Key, String>,
}

impl Item {
    fn name(self) -> &'static str {
        let named = ITEMS.iter().find(|(_, item)| *item == self);
        named.map_or("", |(name, _)| name)
    }

    /// Checks a value and returns its canonical form.
    fn check(self, value: &str) -> Result<String, String> {
        let value = value.trim();
        match self {
            Self::Model => match value.parse::<ModelName>() {
                Ok(ModelName::Replay(_)) => {
                    Err("a recording can be set only in the team file".to_owned())
                }
                Ok(name) => Ok(name.to_string()),
                Err(error) => Err(error.to_string()),
            },
            Self::Effort => Ok(value.parse::<Effort>()?.name().to_owned()),
            Self::Role => match value.parse::<RoleName>() {
                Ok(role) => Ok(role.to_string()),
                Err(error) => Err(error.to_string()),
            },
            Self::MaxSteps => match value.parse::<u32>() {
                Ok(steps @ 1..) => Ok(steps.to_string()),
                Ok(0) | Err(_) => Err("must be a whole number of at least 1".to_owned()),
            },
            Self::Tokens => match value.replace('_', "").parse::<u64>() {
                Ok(tokens @ 1..) => Ok(tokens.to_string()),
                Ok(0) | Err(_) => Err("must be a whole number of at least 1".to_owned()),
            },
            Self::Usd | Self::Minutes => match value.trim_start_matches('$').parse::<f64>() {
                Ok(number) if number.is_finite() && number > 0.0 => Ok(number.to_string()),
                Ok(_) | Err(_) => Err("must be a number above 0".to_owned()),
            },
        }
    }
}

impl Key {
    /// Whether the key is a limit of the budget. Changes of these limits apply to a running team at once.
    pub fn is_limit(&self) -> bool {
        match self {
            Self::Team(item) | Self::Member(_, item) => {
                matches!(item, Item::Tokens | Item::Usd | Item::Minutes)
            }
            Self::RoleModel(_) | Self::BaseUrl(_) => false,
        }
    }

    fn is_text(&self) -> bool {
        match self {
            Self::Team(item) | Self::Member(_, item) => {
                matches!(item, Item::Model | Item::Effort | Item::Role)
            }
            Self::RoleModel(_) | Self::BaseUrl(_) => true,
        }
    }

    /// Checks a value and returns its canonical form.
    ///
    /// # Errors
    /// When the value is not valid for the key.
    pub fn check(&self, value: &str) -> Result<String, KeyError> {
        let checked = match self {
            Self::Team(item) | Self::Member(_, item) => item.check(value),
            Self::RoleModel(_) => Item::Model.check(value),
            Self::BaseUrl(_) => check_base_url(value),
        };
        checked.map_err(|why| KeyError::Value {
            key: self.clone(),
            value: value.to_owned(),
            why,
        })
    }
}

/// Trims a base URL. Rejects an empty URL, and white space or control characters in it; the HTTP client validates the
/// rest.
pub(super) fn check_base_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_invalid = |c: char| c.is_whitespace() || c.is_control();
    if text.is_empty() || text.contains(is_invalid) {
        return Err("must be a URL, such as https://gateway.example/v1".to_owned());
    }
    Ok(text.to_owned())
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = |hint: String| KeyError::Unknown {
            key: text.to_owned(),
            hint,
        };
        let item = |name: &str| {
            let found = ITEMS.iter().find(|(known, _)| *known == name);
            let names = ITEMS.map(|(name, _)| name);
            found
                .map(|(_, item)| *item)
                .ok_or_else(|| unknown(suggest(name, &names)))
        };
        let named = |rest: &str| {
            rest.split_once('.')
                .map(|(name, item)| (name.to_owned(), item.to_owned()))
        };
        if let Some((name, key)) = text.strip_prefix("members.").and_then(named) {
            let name = name
                .parse()
                .map_err(|error| unknown(format!("members.<name>.<key>: {error}")))?;
            return Ok(Self::Member(name, item(&key)?));
        }
        if let Some((name, key)) = text.strip_prefix("roles.").and_then(named) {
            let name = name
                .parse()
                .map_err(|error| unknown(format!("roles.<name>.model: {error}")))?;
            return match item(&key)? {
                Item::Model => Ok(Self::RoleModel(name)),
                Item::Effort
                | Item::Role
                | Item::MaxSteps
                | Item::Tokens
                | Item::Usd
                | Item::Minutes => Err(unknown("only the model of a role can be set".to_owned())),
            };
        }
        if let Some((name, key)) = text.strip_prefix("providers.").and_then(named) {
            if key != "base_url" {
                return Err(unknown("only base_url of a provider can be set".to_owned()));
            }
            let names: Vec<_> = PROVIDERS.iter().map(|provider| provider.name).collect();
            let provider = Provider::named(&name);
            return match provider {
                Some(provider) => Ok(Self::BaseUrl(provider)),
                None => Err(unknown(suggest(&name, &names))),
            };
        }
        item(text).map(Self::Team)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Team(item) => f.write_str(item.name()),
            Self::Member(name, item) => write!(f, "members.{name}.{}", item.name()),
            Self::RoleModel(name) => write!(f, "roles.{name}.model"),
            Self::BaseUrl(provider) => write!(f, "providers.{}.base_url", provider.name),
        }
    }
}

impl Overrides {
    /// Loads the overrides of a team; empty if the file does not exist.
    ///
    /// # Errors
    /// When the file exists but cannot be read or is invalid.
    pub fn load(settings: &Path, team: &TeamId) -> Result<Self, OverridesError> {
        let file = settings
            .join("teams")
            .join(team.as_str())
            .with_added_extension("toml");
        let text = match read_text(&file) {
            Ok(text) => text,
            Err(ReadTextError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                String::new()
            }
            Err(error) => return Err(OverridesError::Read(file, error)),
        };
        let fault = |line: usize, message: String, hint: Option<String>| {
            OverridesError::Fault(Fault {
                file: file.display().to_string(),
                line,
                column: 1,
                message,
                hint,
            })
        };
        let table: toml::Table = toml::from_str(&text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = text[..at].lines().count().max(1);
            fault(line, error.message().to_owned(), None)
        })?;
        let mut leaves = Vec::new();
        flatten("", &table, &mut leaves);
        let mut values = BTreeMap::new();
        for (name, value) in leaves {
            // The file has one line per key, so the line starts with the key.
            let line = text.lines().position(|line| line.starts_with(&*name));
            let at = |error: KeyError| {
                let hint = match &error {
                    KeyError::Unknown { hint, .. } => Some(hint.clone()),
                    KeyError::Value { .. } => None,
                };
                fault(line.map_or(1, |line| line + 1), error.to_string(), hint)
            };
            let key: Key = name.parse().map_err(at)?;
            let value = key.check(&value).map_err(at)?;
            values.insert(key, value);
        }
        Ok(Self { file, values })
    }

    /// Writes the file, or removes it when no key is set. A comment in the file names `team`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, team: &str) -> Result<(), OverridesError> {
        let failed = |error| OverridesError::Write(self.file.clone(), error);
        if self.values.is_empty() {
            return match std::fs::remove_file(&self.file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
                Ok(()) | Err(_) => Ok(()),
            };
        }
        let mut text = format!("# Your settings for {team}, written by agent-team config set.\n");
        for (key, value) in &self.values {
            let value = match key.is_text() {
                true => toml::Value::String(value.clone()).to_string(),
                false => value.clone(),
            };
            text.push_str(&format!("{key} = {value}\n"));
        }
        write_private(&self.file, &text)
    }

    /// The path of the file, for messages.
    pub fn place(&self) -> String {
        self.file.display().to_string()
    }

    /// Sets a key to a value that [`Key::check`] returned; `None` removes the key.
    pub fn set(&mut self, key: Key, value: Option<String>) {
        match value {
            Some(value) => self.values.insert(key, value),
            None => self.values.remove(&key),
        };
    }

    pub fn get(&self, key: &Key) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.values.keys()
    }

    /// The parsed value. `None` if the key is not set, or if its value is not a `T`.
    pub(super) fn parsed<T: FromStr>(&self, key: &Key) -> Option<T> {
        self.get(key)?.parse().ok()
    }

    /// The budget `given`. Each limit that these overrides set replaces the limit in `given`.
    pub(super) fn budget(&self, given: Budget, key: impl Fn(Item) -> Key) -> Budget {
        budget::with(
            given,
            self.parsed(&key(Item::Tokens)),
            self.parsed(&key(Item::Usd)),
            self.parsed(&key(Item::Minutes)),
        )
    }
}

/// Writes a user's file atomically with mode 0600. A crash must not leave a partial file: such a file would be refused,
/// or would have lost settings.
pub(super) fn write_private(file: &Path, text: &str) -> Result<(), OverridesError> {
    let new = file.with_added_extension("new");
    std::fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))
        .and_then(|()| write_0600(&new, text))
        .and_then(|()| std::fs::rename(&new, file))
        .map_err(|error| OverridesError::Write(file.to_owned(), error))
}

/// Writes a file with mode 0600, because a base URL can contain a password.
fn write_0600(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}

fn flatten(before: &str, table: &toml::Table, leaves: &mut Vec<(String, String)>) {
    for (name, value) in table {
        let name = format!("{before}{name}");
        match value {
            toml::Value::Table(table) => flatten(&format!("{name}."), table, leaves),
            toml::Value::String(text) => leaves.push((name, text.clone())),
            toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_) => leaves.push((name, value.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn team() -> TeamId {
        TeamId::new(&"demo".parse().expect("a name"), Path::new("/project"))
    }

    #[test]
    fn overrides_round_trip_and_reset_removes_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut overrides = Overrides::load(dir.path(), &team()).expect("there is no file yet");
        let given = [
            ("model", "claude-opus-4-5", "anthropic/claude-opus-4-5"),
            ("members.ada.limits.usd", "$2.50", "2.5"),
            ("members.ada.limits.tokens", "1_000", "1000"),
            ("roles.worker.model", "openai:gpt-5.1", "openai/gpt-5.1"),
            ("max_steps", "30", "30"),
            (
                "providers.openai.base_url",
                " https://x.example ",
                "https://x.example",
            ),
        ];
        for (key, value, _) in given {
            let key: Key = key.parse().expect("a key");
            let value = key.check(value).expect("a value");
            overrides.set(key, Some(value));
        }
        overrides.save("demo").expect("a writable directory");
        let mode = std::fs::metadata(overrides.place())
            .expect("a stored file")
            .mode();
        assert_eq!(mode & 0o077, 0, "the file is private");
        let mut again = Overrides::load(dir.path(), &team()).expect("a readable file");
        for (key, _, kept) in given {
            let parsed: Key = key.parse().expect("a key");
            assert_eq!(parsed.to_string(), key);
            assert_eq!(again.get(&parsed), Some(kept));
            again.set(parsed, None);
        }
        let file = again.place();
        again.save("demo").expect("a writable directory");
        assert!(!Path::new(&file).exists(), "without settings, no file");
    }

    #[test]
    fn unknown_keys_are_refused_with_a_suggestion() {
        for (key, expected) in [
            ("modle", "did you mean `model`?"),
            ("members.ada.modle", "did you mean `model`?"),
            ("roles.worker.max_steps", "only the model"),
            ("members.A.model", "members.<name>.<key>"),
            ("providers.opnai.base_url", "did you mean `openai`?"),
            ("providers.openai.headers", "only base_url"),
        ] {
            let error = key.parse::<Key>().expect_err(key);
            let KeyError::Unknown { hint, .. } = error else {
                panic!("{error}");
            };
            assert!(hint.contains(expected), "{key}: {hint}");
        }
        for (key, value) in [
            ("model", "qwen3"),
            ("model", "replay:x"),
            ("max_steps", "0"),
            ("limits.tokens", "many"),
            ("limits.usd", "-1"),
            ("providers.openai.base_url", "https://x example"),
        ] {
            let key: Key = key.parse().expect("a key");
            key.check(value).expect_err(value);
        }
    }

    #[test]
    fn an_unknown_key_in_the_file_is_refused_with_its_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = Overrides::load(dir.path(), &team())
            .expect("no file yet")
            .place();
        std::fs::create_dir_all(dir.path().join("teams")).expect("a writable directory");
        std::fs::write(&file, "model = \"gpt-5.1\"\nmodle = \"x\"\n").expect("a writable file");
        let error = Overrides::load(dir.path(), &team()).expect_err("a misspelt key");
        assert_eq!(
            error.to_string(),
            format!("{file}:2:1: there is no setting \"modle\"")
        );
    }
}
