//! Members, roles and models, as a builder is told of them: what the tables of a team file say, in Rust.

use std::sync::Arc;

use agent_team_protocol::spec::Budget;
use agent_team_teammate::model::Model;
use serde::Serialize;

/// A model by its name, or the caller's own.
#[derive(Debug, Clone)]
pub enum ModelChoice {
    /// `provider/model`, or `replay:FILE`.
    Named(String),
    Own(Arc<dyn Model>),
}

impl From<&str> for ModelChoice {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

impl From<String> for ModelChoice {
    fn from(name: String) -> Self {
        Self::Named(name)
    }
}

impl<M: Model + 'static> From<Arc<M>> for ModelChoice {
    fn from(model: Arc<M>) -> Self {
        Self::Own(model)
    }
}

impl From<Arc<dyn Model>> for ModelChoice {
    fn from(model: Arc<dyn Model>) -> Self {
        Self::Own(model)
    }
}

/// What a member and a role are told in the same words.
macro_rules! told_alike {
    () => {
        /// What a model is told: a member's besides what its role says. `{{name}}` is a variable of the builder's.
        #[must_use]
        pub fn prompt(mut self, prompt: impl Into<String>) -> Self {
            self.prompt = Some(prompt.into());
            self
        }

        /// Answers of a model for one task or turn, at most.
        #[must_use]
        pub fn max_steps(mut self, steps: u32) -> Self {
            self.max_steps = Some(steps);
            self
        }

        /// Of the tools of the domain, only these.
        #[must_use]
        pub fn tools<T: Into<String>>(mut self, tools: impl IntoIterator<Item = T>) -> Self {
            self.tools = Some(tools.into_iter().map(Into::into).collect());
            self
        }

        /// Of the tools of the domain, not these.
        #[must_use]
        pub fn deny_tools<T: Into<String>>(mut self, tools: impl IntoIterator<Item = T>) -> Self {
            self.deny_tools = Some(tools.into_iter().map(Into::into).collect());
            self
        }
    };
}

/// The keys of a budget as they stand in a team file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct BudgetTable {
    tokens: Option<u64>,
    usd: Option<f64>,
    minutes: Option<f64>,
}

impl From<Budget> for BudgetTable {
    fn from(budget: Budget) -> Self {
        Self {
            tokens: budget.tokens,
            usd: budget.micro_usd.map(|millionths| millionths as f64 / 1e6),
            minutes: budget.work_ms.map(|ms| ms as f64 / 60_000.0),
        }
    }
}

/// A member as wanted; what is left out is its role's.
#[derive(Debug, Clone, Serialize)]
pub struct Member {
    pub(crate) name: String,
    role: Option<String>,
    prompt: Option<String>,
    max_steps: Option<u32>,
    tools: Option<Vec<String>>,
    deny_tools: Option<Vec<String>>,
    #[serde(skip)]
    pub(crate) model: Option<ModelChoice>,
    /// Of [`Member::model`], where that is a name.
    #[serde(rename = "model")]
    pub(crate) model_name: Option<String>,
    engine: Option<&'static str>,
    limits: BudgetTable,
}

impl Member {
    /// A member of the role `worker`, or for a lead of the role `lead`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            role: None,
            prompt: None,
            max_steps: None,
            tools: None,
            deny_tools: None,
            model: None,
            model_name: None,
            engine: None,
            limits: BudgetTable::default(),
        }
    }

    told_alike!();

    /// A built-in role, one of the project's role files, or one that the builder was given.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    #[must_use]
    pub fn model(mut self, model: impl Into<ModelChoice>) -> Self {
        let model = model.into();
        self.model_name = match &model {
            ModelChoice::Named(name) => Some(name.clone()),
            ModelChoice::Own(_) => None,
        };
        self.model = Some(model);
        self
    }

    /// What she may spend on one goal. Who has used hers up waits for [`Members::set_budget`].
    ///
    /// [`Members::set_budget`]: crate::Members::set_budget
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.limits = budget.into();
        self
    }

    /// The command engine does its work: the `run` lines of tasks.
    #[must_use]
    pub fn runs_commands(mut self) -> Self {
        self.engine = Some("command");
        self
    }
}

/// A role of the team's own: a template for its members.
#[derive(Debug, Clone, Serialize)]
pub struct Role {
    #[serde(skip)]
    pub(crate) name: String,
    description: Option<String>,
    prompt: Option<String>,
    model: Option<String>,
    max_steps: Option<u32>,
    tools: Option<Vec<String>>,
    deny_tools: Option<Vec<String>>,
    coordinate: Option<bool>,
}

impl Role {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: None,
            prompt: None,
            model: None,
            max_steps: None,
            tools: None,
            deny_tools: None,
            coordinate: None,
        }
    }

    told_alike!();

    /// In a line, for whoever chooses who does what.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// `provider/model`, or `replay:FILE`.
    #[must_use]
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.model = Some(name.into());
        self
    }

    /// Its members change nothing themselves.
    #[must_use]
    pub fn coordinates(mut self) -> Self {
        self.coordinate = Some(true);
        self
    }
}
