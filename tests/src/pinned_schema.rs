//! The messages of an agent of another vendor, as its own program describes them, pinned for the tested version. The
//! fake of the agent checks each message that it sends and receives: neither the fake nor the worker can speak a
//! protocol that the program does not have. `cargo xtask test real-clis` writes the schemas, reduced to the messages that
//! agent-team uses and without descriptions.
//!
//! This module is the only one that uses the crate `jsonschema`, which changes often.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

/// The kinds of messages in a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A request to the agent, and the agent's answer.
    Request,
    Answer,
    /// A notification of the agent.
    Notification,
    /// A question of the agent, and the answer to it.
    Question,
    Decision,
}

impl Kind {
    /// The key in the file.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Request => "requests",
            Self::Answer => "answers",
            Self::Notification => "notifications",
            Self::Question => "questions",
            Self::Decision => "decisions",
        }
    }
}

/// The schema of one tested version.
#[derive(Debug)]
pub struct PinnedSchema {
    document: Value,
    validators: Mutex<HashMap<(Kind, String), Arc<Validator>>>,
}

impl PinnedSchema {
    /// The app-server of Codex.
    pub fn codex() -> Self {
        Self::of(include_str!("../schemas/codex.json"))
    }

    /// The server of OpenCode. The names of its requests and answers are routes: `POST /session`.
    pub fn opencode() -> Self {
        Self::of(include_str!("../schemas/opencode.json"))
    }

    fn of(text: &str) -> Self {
        Self {
            document: serde_json::from_str(text).expect("a pinned schema is JSON"),
            validators: Mutex::default(),
        }
    }

    /// The version of the program that has generated the schema.
    pub fn version(&self) -> &str {
        self.document["version"].as_str().unwrap_or_default()
    }

    /// Checks the parameters or the result of a message.
    ///
    /// # Errors
    /// If the schema has no such message, or if the value does not match. The text names the message and the first
    /// fault.
    pub fn check(&self, kind: Kind, method: &str, value: &Value) -> Result<(), String> {
        let validator = self.validator(kind, method)?;
        match validator.iter_errors(value).next() {
            None => Ok(()),
            Some(fault) => Err(format!(
                "{method} in {}, at {}: {fault}: {value}",
                kind.key(),
                fault.instance_path()
            )),
        }
    }

    fn validator(&self, kind: Kind, method: &str) -> Result<Arc<Validator>, String> {
        let key = (kind, method.to_owned());
        let mut validators = self
            .validators
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(validator) = validators.get(&key) {
            return Ok(Arc::clone(validator));
        }
        let Some(message) = self.document[kind.key()].get(method) else {
            return Err(format!("the schema has no {method} in {}", kind.key()));
        };
        let schema = json!({ "allOf": [message], "definitions": self.document["definitions"] });
        let validator = jsonschema::validator_for(&schema).expect("a pinned schema is valid");
        let validator = Arc::new(validator);
        validators.insert(key, Arc::clone(&validator));
        Ok(validator)
    }
}
