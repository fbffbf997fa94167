//! Members, roles and models for the builder: the tables of a team file as Rust types.

use std::sync::Arc;

use agent_team_llm::Model;
use agent_team_protocol::spec::Budget;
use agent_team_protocol::value::Effort;
use serde::Serialize;

/// A model by name, or an implementation of [`Model`] by the caller.
#[derive(Debug, Clone)]
pub enum ModelChoice {
    /// `provider/model`, or `replay:FILE`.
    Named(String),
    Own(Arc<dyn Model>),
}

impl ModelChoice {
    /// The name, if the model was set by name.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::Named(name) => Some(name.clone()),
            Self::Own(_) => None,
        }
    }

    /// The caller's own model.
    pub(crate) fn own(&self) -> Option<&Arc<dyn Model>> {
        match self {
            Self::Named(_) => None,
            Self::Own(model) => Some(model),
        }
    }
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

/// The settings that members and roles share.
macro_rules! shared_settings {
    () => {
        /// Sets the prompt. A member's prompt follows its role's prompt. `{{name}}` is a variable of the builder.
        #[must_use]
        pub fn prompt(mut self, prompt: impl Into<String>) -> Self {
            self.prompt = Some(prompt.into());
            self
        }

        /// How much the model thinks before it answers. Default: medium.
        #[must_use]
        pub fn effort(mut self, effort: Effort) -> Self {
            self.effort = Some(effort);
            self
        }

        /// The model that summarises a long conversation, such as `anthropic/claude-haiku-4-5`. Default: the member's
        /// own model.
        #[must_use]
        pub fn compact(mut self, model: impl Into<String>) -> Self {
            self.compact = Some(model.into());
            self
        }

        /// Maximum number of model replies for one task or turn.
        #[must_use]
        pub fn max_steps(mut self, steps: u32) -> Self {
            self.max_steps = Some(steps);
            self
        }

        /// Allows only these built-in tools and MCP tools. `mcp__SERVER__TOOL` names one MCP tool, `mcp__SERVER` all tools
        /// of a server.
        #[must_use]
        pub fn tools<T: Into<String>>(mut self, tools: impl IntoIterator<Item = T>) -> Self {
            self.tools = Some(tools.into_iter().map(Into::into).collect());
            self
        }

        /// Removes these built-in tools and MCP tools, named as in `tools`.
        #[must_use]
        pub fn deny_tools<T: Into<String>>(mut self, tools: impl IntoIterator<Item = T>) -> Self {
            self.deny_tools = Some(tools.into_iter().map(Into::into).collect());
            self
        }

        /// Offers only the tools of these MCP servers of the team. Default: the tools of all servers.
        #[must_use]
        pub fn mcp<T: Into<String>>(mut self, servers: impl IntoIterator<Item = T>) -> Self {
            self.mcp = Some(servers.into_iter().map(Into::into).collect());
            self
        }
    };
}

/// The keys of a budget in a team file.
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

/// A member. Its role supplies the settings that are left out.
#[derive(Debug, Clone, Serialize)]
pub struct Member {
    pub(crate) name: String,
    role: Option<String>,
    prompt: Option<String>,
    effort: Option<Effort>,
    compact: Option<String>,
    max_steps: Option<u32>,
    tools: Option<Vec<String>>,
    deny_tools: Option<Vec<String>>,
    mcp: Option<Vec<String>>,
    #[serde(skip)]
    pub(crate) model: Option<ModelChoice>,
    /// The name of the model, if it was set by name.
    #[serde(rename = "model")]
    pub(crate) model_name: Option<String>,
    engine: Option<&'static str>,
    /// `None` if no limits are set: the parser refuses even an empty table for a command member.
    limits: Option<BudgetTable>,
}

impl Member {
    /// A member of the role `worker`, or of the role `lead` if it is the lead.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            role: None,
            prompt: None,
            effort: None,
            compact: None,
            max_steps: None,
            tools: None,
            deny_tools: None,
            mcp: None,
            model: None,
            model_name: None,
            engine: None,
            limits: None,
        }
    }

    shared_settings!();

    /// Sets the role: a built-in role, a role of the project's role files, or a role added to the builder.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// The model of this member: a name such as `openai/gpt-5`, or an implementation of the trait [`Model`].
    #[must_use]
    pub fn model(mut self, model: impl Into<ModelChoice>) -> Self {
        let model = model.into();
        self.model_name = model.name();
        self.model = Some(model);
        self
    }

    /// Limits on what the member may spend on one goal. At 100 % it waits for [`Members::set_budget`].
    ///
    /// [`Members::set_budget`]: crate::Members::set_budget
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.limits = Some(budget.into());
        self
    }

    /// Sets the command engine, which runs the `run` lines of tasks.
    #[must_use]
    pub fn command_engine(mut self) -> Self {
        self.engine = Some("command");
        self
    }
}

/// A role: a template for members.
#[derive(Debug, Clone, Serialize)]
pub struct Role {
    #[serde(skip)]
    pub(crate) name: String,
    description: Option<String>,
    prompt: Option<String>,
    #[serde(skip)]
    pub(crate) model: Option<ModelChoice>,
    /// The name of the model, if it was set by name.
    #[serde(rename = "model")]
    model_name: Option<String>,
    effort: Option<Effort>,
    compact: Option<String>,
    max_steps: Option<u32>,
    tools: Option<Vec<String>>,
    deny_tools: Option<Vec<String>>,
    mcp: Option<Vec<String>>,
    coordinate: Option<bool>,
}

impl Role {
    /// A role without settings: its members use the defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: None,
            prompt: None,
            model: None,
            model_name: None,
            effort: None,
            compact: None,
            max_steps: None,
            tools: None,
            deny_tools: None,
            mcp: None,
            coordinate: None,
        }
    }

    shared_settings!();

    /// Sets one line that helps the lead to choose a member for a task.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets the model of the role's members: a name such as `openai/gpt-5`, or an implementation of the trait
    /// [`Model`].
    #[must_use]
    pub fn model(mut self, model: impl Into<ModelChoice>) -> Self {
        let model = model.into();
        self.model_name = model.name();
        self.model = Some(model);
        self
    }

    /// Takes from the role's members the tools that change files: `apply_patch`, `bash`, `edit`, `write` and `note`.
    #[must_use]
    pub fn coordinates(mut self) -> Self {
        self.coordinate = Some(true);
        self
    }
}
