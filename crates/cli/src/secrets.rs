//! The secrets of a running team, for redacting text that is written to files. Used by `audit export` and by the input
//! history of the single-terminal view.

use std::collections::BTreeMap;

use agent_team_protocol::TeamId;
use agent_team_system::directories::Directories;
use agent_team_system::private_file;
use serde::Deserialize;
use serde_json::Value;

/// The secrets of a team that is up. The supervisor never writes them to the journal, but text of users and programs in
/// the journal may contain them.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Secrets {
    #[serde(default)]
    secrets: BTreeMap<String, String>,
}

impl Secrets {
    /// Reads the secrets; empty if the team is down or its environment file cannot be read.
    pub(crate) fn of(directories: &Directories, team: &TeamId) -> Self {
        let file = directories.environment_file(team.as_str());
        let content = private_file::read(&file).ok();
        content
            .and_then(|content| serde_json::from_slice(&content).ok())
            .unwrap_or_default()
    }

    /// Replaces each secret in a line of JSON by `[secret NAME]`.
    pub(crate) fn hide_json(&self, mut line: String) -> String {
        for (name, value) in &self.secrets {
            if value.is_empty() {
                continue;
            }
            // Compare in the escaped form of JSON, without the quotes.
            let escaped = Value::from(value.as_str()).to_string();
            let escaped = &escaped[1..escaped.len() - 1];
            line = line.replace(escaped, &format!("[secret {name}]"));
        }
        line
    }

    /// Replaces each secret in a text.
    pub(crate) fn hide(&self, text: &str) -> String {
        let hidden = self.hide_json(Value::from(text).to_string());
        // The replacement needs no escaping, so the result is usually valid JSON. A match that begins within an escape
        // sequence destroys the sequence; this function then returns an empty text, which contains no secret.
        serde_json::from_str(&hidden).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_redacted_in_text_and_in_json() {
        let secrets = [
            ("KEY".to_owned(), "a\"b\\nc".to_owned()),
            ("QUOTED".to_owned(), "\"quoted\"".to_owned()),
        ];
        let secrets = Secrets {
            secrets: secrets.into(),
        };
        assert_eq!(secrets.hide("x a\"b\\nc\ny"), "x [secret KEY]\ny");
        assert_eq!(secrets.hide("\"plain\""), "\"plain\"");
        assert_eq!(
            secrets.hide("say \"quoted\" now"),
            "say [secret QUOTED] now"
        );
    }
}
