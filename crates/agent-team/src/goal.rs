//! A goal for a run, with values for the shared memory and with the variables of this run.

use std::collections::BTreeMap;

use agent_team_protocol::value::Effort;
use serde_json::Value;

/// A goal for [`Team::run`] and [`Team::run_streaming`]. A string is a goal without settings.
///
/// [`Team::run`]: crate::Team::run
/// [`Team::run_streaming`]: crate::Team::run_streaming
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    pub(crate) text: String,
    pub(crate) memory: BTreeMap<String, Value>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) effort: Option<Effort>,
}

impl Goal {
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            memory: BTreeMap::new(),
            variables: BTreeMap::new(),
            effort: None,
        }
    }

    /// Stores a value in the team's shared memory before the run starts; members read it with `recall`. The memory of a
    /// run starts with the values of its goal alone.
    ///
    /// A run is refused if a key has more than 256 bytes or a value more than 64 KiB.
    #[must_use]
    pub fn memory(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.memory.insert(key.into(), value.into());
        self
    }

    /// Sets `{{name}}` in prompts and role files for this run; takes precedence over [`TeamBuilder::variable`]. Members
    /// whose prompts change are launched again before the run, and continue their conversations. The text of the goal
    /// is not changed.
    ///
    /// [`TeamBuilder::variable`]: crate::TeamBuilder::variable
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// How much the models of all members think until the run ends; takes precedence over the effort of a member. No
    /// member is launched again.
    #[must_use]
    pub fn effort(mut self, effort: Effort) -> Self {
        self.effort = Some(effort);
        self
    }
}

impl From<&str> for Goal {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Goal {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&String> for Goal {
    fn from(text: &String) -> Self {
        Self::new(text)
    }
}
