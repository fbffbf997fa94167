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

    pub(crate) fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Replaces each secret in the strings of a JSON text by `[secret NAME]`. The result is JSON too.
    pub(crate) fn redact_json(&self, json: &str) -> String {
        let mut hidden = String::with_capacity(json.len());
        let mut rest = json;
        while let Some(begin) = rest.find('"') {
            let (before, from_quote) = rest.split_at(begin);
            hidden.push_str(before);
            let (string, after) = from_quote.split_at(string_length(from_quote));
            match serde_json::from_str::<String>(string) {
                Ok(text) => hidden.push_str(&Value::from(self.redact(&text)).to_string()),
                // An invalid string may contain a secret in a form that is not found, so replace the whole string.
                Err(_) => hidden.push_str("\"\""),
            }
            rest = after;
        }
        hidden.push_str(rest);
        hidden
    }

    /// Replaces each secret in a text.
    pub(crate) fn redact(&self, text: &str) -> String {
        let mut secrets: Vec<(&String, &String)> = self.secrets.iter().collect();
        secrets.retain(|(_, value)| !value.is_empty());
        // Replace the longest secret first: a secret can contain another secret.
        secrets.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        secrets
            .into_iter()
            .fold(text.to_owned(), |text, (name, value)| {
                text.replace(value, &format!("[secret {name}]"))
            })
    }
}

/// The length of the JSON string at the beginning of a text, with its quotes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
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
        assert_eq!(secrets.redact("x a\"b\\nc\ny"), "x [secret KEY]\ny");
        assert_eq!(secrets.redact("\"plain\""), "\"plain\"");
        assert_eq!(
            secrets.redact("print \"quoted\" now"),
            "print [secret QUOTED] now"
        );
    }

    #[test]
    fn a_secret_within_an_escape_sequence_is_not_text() {
        // The JSON text contains `\nightly`. Its `n` belongs to the escape sequence, so the string contains no secret.
        let secrets = [
            ("WORD".to_owned(), "nightly".to_owned()),
            ("LONG".to_owned(), "nightly-build".to_owned()),
        ];
        let secrets = Secrets {
            secrets: secrets.into(),
        };
        assert_eq!(secrets.redact("one\nightly"), "one\nightly");
        let json = r#"{"a":1,"text":"one\nightly, \"nightly\" \\","b":["nightly-build"]}"#;
        let hidden = r#"{"a":1,"text":"one\nightly, \"[secret WORD]\" \\","b":["[secret LONG]"]}"#;
        assert_eq!(secrets.redact_json(json), hidden);
    }
}
