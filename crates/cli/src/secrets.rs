//! The values that a team keeps from models, to be hidden in what is written down. Called by `audit export`, and where
//! the view in one terminal keeps what was typed.

use std::collections::BTreeMap;

use agent_team_protocol::TeamId;
use agent_team_system::directories::Directories;
use agent_team_system::private_file;
use serde::Deserialize;
use serde_json::Value;

/// The values that a team which is up keeps from models. They are not in the journal; what is, was said by somebody who
/// knew one.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Secrets {
    #[serde(default)]
    secrets: BTreeMap<String, String>,
}

impl Secrets {
    pub(crate) fn of(directories: &Directories, team: &TeamId) -> Self {
        let file = directories.environment_file(team.as_str());
        let kept = private_file::read(&file).ok();
        kept.and_then(|kept| serde_json::from_slice(&kept).ok())
            .unwrap_or_default()
    }

    /// A line of JSON with a mark in place of each value.
    pub(crate) fn hide_json(&self, mut line: String) -> String {
        for (name, value) in &self.secrets {
            if value.is_empty() {
                continue;
            }
            // As it stands in JSON, without the quotes around it.
            let escaped = Value::from(value.as_str()).to_string();
            let escaped = &escaped[1..escaped.len() - 1];
            line = line.replace(escaped, &format!("[secret {name}]"));
        }
        line
    }

    /// The same of any text.
    pub(crate) fn hide(&self, text: &str) -> String {
        let hidden = self.hide_json(Value::from(text).to_string());
        // A mark is text like others, so that this is JSON still.
        serde_json::from_str(&hidden).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_hidden_in_text_and_in_json() {
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
