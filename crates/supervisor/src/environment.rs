//! The environment of a team's programs, given by the caller of `up`. Stored in the team's environment file in the
//! runtime directory while the team is up, never in its journal. Called by the server and the driver.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use agent_team_protocol::method::SECRET_MIN;
use agent_team_protocol::{ErrorCode, Refusal};
use agent_team_providers::holds_key;
use serde::{Deserialize, Serialize};

/// Environment variables by name.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Environment {
    pub(crate) variables: BTreeMap<String, String>,
    /// Names of the variables that the caller passed explicitly.
    #[serde(default)]
    pub(crate) named: BTreeSet<String>,
    /// Variables that only the members' tools and tasks receive, not hooks.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, String>,
}

/// Prints counts, never values.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.len())
            .field("secrets", &self.secrets.len())
            .finish()
    }
}

impl Environment {
    /// Checks that every secret is long enough to be redacted.
    ///
    /// # Errors
    /// When a secret is too short.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match self
            .secrets
            .iter()
            .find(|(_, value)| value.len() < SECRET_MIN)
        {
            Some((name, _)) => Err(Refusal::new(
                ErrorCode::Invalid,
                format!(
                    "the secret {name} is shorter than {SECRET_MIN} bytes, too short to be redacted"
                ),
            )),
            None => Ok(()),
        }
    }

    /// The environment of hooks and of the program that notifies the user. It has no secrets and no keys of model
    /// providers: the output of a hook is stored, and the programs that a hook starts may come from the project.
    pub(crate) fn of_hooks(mut self) -> BTreeMap<String, String> {
        self.variables
            .retain(|name, _| !self.secrets.contains_key(name) && !holds_key(name));
        self.variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_have_neither_secrets_nor_model_keys() {
        let variables = [
            ("PATH", "/bin"),
            ("OPENAI_API_KEY", "sk-1"),
            ("ANTHROPIC_API_KEY_FILE", "/keys/a"),
            ("TOKEN", "hidden-value"),
        ];
        let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let environment = Environment {
            variables: variables.map(pair).into(),
            secrets: [("TOKEN", "hidden-value")].map(pair).into(),
            ..Environment::default()
        };
        assert_eq!(environment.of_hooks(), [("PATH", "/bin")].map(pair).into());
    }
}
