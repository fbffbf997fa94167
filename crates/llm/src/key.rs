//! Looks up the keys of providers, and redacts them in output. Called by `open`, `choose` and `http`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use agent_team_providers::Provider;
use agent_team_system::private_file;

/// The replacement for a key in a text.
const HIDDEN: &str = "[key]";

/// A provider's key. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    text: String,
    /// The variable that contains the key or names its file.
    pub(super) var: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HIDDEN} of {}", self.var)
    }
}

/// Why a configured key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot read the key file that {var} names")]
    File {
        var: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{0} does not contain a key: it is empty, or not a single line of visible text")]
    Shape(String),
}

impl Key {
    /// Finds the key of the provider: tries its variables in order, and uses the first that is set and not empty.
    /// `<VARIABLE>` contains the key; `<VARIABLE>_FILE` names a file that contains it, which must be private to the user.
    /// `None`: no such variable is set.
    pub(super) fn find(
        provider: &Provider,
        environment: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, KeyError> {
        for var in provider.key_vars {
            if let Some(key) = set(environment, var) {
                return Self::of(key, var).map(Some);
            }
            let var = format!("{var}_FILE");
            if let Some(path) = set(environment, &var) {
                let bytes = match private_file::read(Path::new(path)) {
                    Ok(bytes) => bytes,
                    Err(source) => return Err(KeyError::File { var, source }),
                };
                let text = String::from_utf8(bytes).unwrap_or_default();
                return Self::of(&text, &var).map(Some);
            }
        }
        Ok(None)
    }

    fn of(text: &str, var: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        // A key consists of visible ASCII characters. A header also refuses control characters, but its error might contain
        // the key.
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyError::Shape(var.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            var: var.to_owned(),
        })
    }

    /// The key itself, only to send it in a header.
    pub(super) fn reveal(&self) -> &str {
        &self.text
    }

    /// Replaces the key in a text: a server may have repeated the key.
    pub(super) fn redact(&self, text: &str) -> String {
        text.replace(&self.text, HIDDEN)
    }
}

/// The value of a variable that is set and not empty.
pub(super) fn set<'a>(environment: &'a BTreeMap<String, String>, var: &str) -> Option<&'a str> {
    environment
        .get(var)
        .map(|value| value.trim())
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use agent_team_protocol::with_causes;

    fn find(vars: &[(&str, &str)]) -> Result<Option<Key>, KeyError> {
        let environment = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let gemini = Provider::named("gemini").expect("a known provider");
        Key::find(gemini, &environment.collect())
    }

    #[test]
    fn the_first_nonempty_variable_holds_the_key() {
        let key = find(&[("GEMINI_API_KEY", " "), ("GOOGLE_API_KEY", "AIza1\n")]);
        let key = key.expect("a valid key").expect("a key");
        assert_eq!(key.reveal(), "AIza1");
        assert!(!format!("{key:?}").contains("AIza1"));
        assert_eq!(key.redact("wrong key AIza1."), "wrong key [key].");
        assert_eq!(find(&[]).expect("no invalid key"), None);
    }

    #[test]
    fn a_key_file_must_be_private() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        fs::write(&path, "AIza2\n").expect("a writable file");
        let vars = [("GEMINI_API_KEY_FILE", path.to_str().expect("a UTF-8 path"))];
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a file of this user");
        let key = find(&vars).expect("a private file").expect("a key");
        assert_eq!(key.reveal(), "AIza2");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a file of this user");
        let error = with_causes(&find(&vars).expect_err("others may read it"));
        assert!(error.contains("GEMINI_API_KEY_FILE"), "{error}");
        assert!(error.contains("accessible to other users"), "{error}");
        assert!(!error.contains("AIza2"), "{error}");
    }

    #[test]
    fn invalid_keys_are_refused_without_showing_them() {
        let error =
            find(&[("GEMINI_API_KEY", "AIza\u{7}3")]).expect_err("the key has a control character");
        assert_eq!(
            error.to_string(),
            "GEMINI_API_KEY does not contain a key: it is empty, or not a single line of visible text"
        );
    }
}
