//! The rules, hooks and MCP servers of a team, as tables of its generated team file. Filled by the builder.

use std::collections::BTreeMap;

use serde::Serialize;

/// `[permissions]` of the generated team file.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct RulesTable {
    pub(crate) deny: Vec<String>,
    pub(crate) ask: Vec<String>,
    pub(crate) allow: Vec<String>,
}

/// `[hooks]` of the generated team file.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct HooksTable {
    /// The hooks of the board.
    #[serde(flatten)]
    pub(crate) of_board: BTreeMap<String, String>,
    #[serde(flatten)]
    pub(crate) of_agents: BTreeMap<&'static str, Vec<AgentHook>>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct AgentHook {
    pub(crate) run: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) matcher: String,
}

/// An MCP server whose tools the agents of a team may use, as `mcp__<server>__<tool>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct McpServer {
    #[serde(skip)]
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<bool>,
}

impl McpServer {
    /// A program that speaks MCP on its standard input and output. Each agent starts its own process.
    pub fn program(name: impl Into<String>, command: impl Into<String>) -> Self {
        Self {
            command: Some(command.into()),
            ..Self::named(name)
        }
    }

    /// A server with streamable HTTP.
    pub fn http(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            url: Some(url.into()),
            ..Self::named(name)
        }
    }

    fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            command: None,
            args: Vec::new(),
            url: None,
            env: BTreeMap::new(),
            headers: BTreeMap::new(),
            timeout_s: None,
            search: None,
        }
    }

    /// The arguments of the program.
    #[must_use]
    pub fn args<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a variable to the program's environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Adds a header to each HTTP request. `$NAME` in the value is replaced by a variable of
    /// [`TeamBuilder::secret`](crate::TeamBuilder::secret) or [`TeamBuilder::env`](crate::TeamBuilder::env).
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Seconds that a call may take without progress, at most a day. Default: 300.
    #[must_use]
    pub fn timeout_s(mut self, seconds: u32) -> Self {
        self.timeout_s = Some(seconds);
        self
    }

    /// Whether the models search for the tools, instead of having all of them in each request. Default: only if the
    /// servers have many tools.
    #[must_use]
    pub fn search(mut self, on: bool) -> Self {
        self.search = Some(on);
        self
    }
}
