//! The tools of MCP servers, offered under `mcp__<server>__<tool>`. Called by the mind before its first step.
//!
//! ```text
//! program: started ─┐                                         ┌──────── gone: connected anew ◄───────┐
//!                   ├─► initialize ──► tools/list ──► offered ─┴─call──► answer, or why there is none ─┘
//! url ──────────────┘        └── fails, or takes too long: told to the model and the person, nothing offered
//! ```
//! A server is somebody else's program: whatever it does (dies, hangs, prints nonsense) is an error of one call, never
//! the end of the member. What it calls itself and its tools is data; a program ends with the last of its tools, with
//! everything that it started.
//!
//! - one that is offered, and connected anew: `server`; starting and asking one, why it does not answer: `connection`
//! - what one at a URL is sent besides: `headers`; what an answer becomes: `answer`

mod answer;
mod connection;
mod headers;
mod server;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::spec::AgentSpec;
use rmcp::model::{CallToolRequestParams, CallToolResponse, Tool as ForeignTool};
use serde_json::Value;
use tokio::task::JoinSet;

use self::connection::Origin;
use self::server::Server;
use super::permit::Permission;
use super::{Bench, Running, Tool, ToolError};
use crate::model::ToolSpec;

/// Of one call.
const CALL_LIMIT: Duration = Duration::from_secs(300);

/// Characters of a tool's name that every provider takes.
const NAME_MAX: usize = 64;

/// Tools of one server that are offered at most.
const TOOLS_MAX: usize = 200;

/// What came of a member's servers.
#[derive(Debug, Default)]
pub struct Offered {
    pub tools: Vec<Box<dyn Tool>>,
    /// One line for each server that is not offered as it should be, for the model and the person.
    pub troubles: Vec<String>,
}

/// Connects all servers of this member, side by side. Safe to cancel: what was started ends.
pub async fn connect(agent: &AgentSpec, permission: &Permission, bench: &Bench) -> Offered {
    let mut connecting = JoinSet::new();
    for (place, server) in agent.mcp.iter().enumerate() {
        let (name, secrets) = (server.name.clone(), bench.secrets.clone());
        let origin = Origin::new(server, bench);
        connecting.spawn(async move {
            let found = Server::connect(origin).await;
            let hidden = |why: String| secrets.hide(&why).into_owned();
            (place, name, found.map_err(hidden))
        });
    }
    let mut found = connecting.join_all().await;
    found.sort_by_key(|(place, ..)| *place);
    let mut offered = Offered::default();
    let mut names = BTreeSet::new();
    for (_, name, found) in found {
        match found {
            Ok((server, tools, stray)) => {
                if let Some(printed) = stray {
                    offered.troubles.push(format!(
                        "MCP server {name}: it prints what is no message on stdout: {printed}"
                    ));
                }
                offered.add(agent, permission, &mut names, &Arc::new(server), tools);
            }
            Err(why) => offered.troubles.push(format!("MCP server {name}: {why}")),
        }
    }
    offered
}

impl Offered {
    fn add(
        &mut self,
        agent: &AgentSpec,
        permission: &Permission,
        names: &mut BTreeSet<String>,
        server: &Arc<Server>,
        tools: Vec<ForeignTool>,
    ) {
        if tools.len() > TOOLS_MAX {
            self.troubles.push(format!(
                "MCP server {}: of its {} tools only {TOOLS_MAX} are offered",
                server.name(),
                tools.len()
            ));
        }
        for tool in tools.into_iter().take(TOOLS_MAX) {
            let name = name_of(server.name(), &tool.name);
            if !may_use(agent, server.name(), &name) {
                continue;
            }
            if !names.insert(name.clone()) {
                let clash = format!(
                    "MCP server {}: two of its tools would be called {name}",
                    server.name()
                );
                self.troubles.push(clash);
                continue;
            }
            let tool = McpTool::new(server, permission.clone(), name, tool);
            self.tools.push(Box::new(tool));
        }
    }
}

/// `mcp__github__create_issue`, in characters that every provider takes.
fn name_of(server: &str, tool: &str) -> String {
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => c,
        _ => '_',
    };
    let name = format!("mcp__{server}__{tool}");
    name.chars().map(plain).take(NAME_MAX).collect()
}

/// Whether role and member let her have it: a tool by its name, or all of a server by `mcp__<server>`.
fn may_use(agent: &AgentSpec, server: &str, tool: &str) -> bool {
    let all = format!("mcp__{server}");
    let names = |list: &[String]| list.iter().any(|name| name == tool || *name == all);
    agent.tools.as_deref().is_none_or(names) && !names(&agent.deny_tools)
}

/// One tool of a server.
#[derive(Debug)]
struct McpTool {
    spec: ToolSpec,
    server: Arc<Server>,
    permission: Permission,
    /// As the server calls it.
    name: String,
    reads_only: bool,
}

impl McpTool {
    fn new(server: &Arc<Server>, permission: Permission, name: String, tool: ForeignTool) -> Self {
        let hints = tool.annotations.as_ref();
        Self {
            spec: ToolSpec {
                name,
                description: tool.description.unwrap_or_default().into_owned(),
                input: Value::Object((*tool.input_schema).clone()),
            },
            server: Arc::clone(server),
            permission,
            name: tool.name.into_owned(),
            // What it says of itself decides only what runs side by side.
            reads_only: hints
                .and_then(|hints| hints.read_only_hint)
                .unwrap_or(false),
        }
    }

    async fn call(&self, input: Value) -> Result<CallToolResponse, ToolError> {
        let mut params = CallToolRequestParams::new(self.name.clone());
        if let Value::Object(arguments) = input {
            params = params.with_arguments(arguments);
        }
        match tokio::time::timeout(CALL_LIMIT, self.server.call(params)).await {
            Ok(answered) => answered.map_err(ToolError::Failed),
            Err(_) => Err(ToolError::Failed(format!(
                "the MCP server {} did not answer within {} s; unknown whether it was done",
                self.server.name(),
                CALL_LIMIT.as_secs()
            ))),
        }
    }
}

impl Tool for McpTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reads_only(&self) -> bool {
        self.reads_only && !self.permission.is_asked()
    }

    fn run<'a>(
        &'a self,
        input: Value,
        bench: &'a Bench,
        shown: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Running<'a> {
        Box::pin(async move {
            let (name, permission) = (&self.spec.name, &self.permission);
            let _permit = permission.ask(name, &input, false, bench, shown).await?;
            answer::output(self.call(input).await?, bench)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_every_provider_takes() {
        assert_eq!(
            name_of("git-hub", "issues/create.new"),
            "mcp__git-hub__issues_create_new"
        );
        assert_eq!(name_of("a", &"é".repeat(100)).len(), NAME_MAX);
    }

    #[test]
    fn a_role_names_a_tool_or_all_of_a_server() {
        let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let of = |tools: Option<&[&str]>, deny: &[&str]| AgentSpec {
            tools: tools.map(strings),
            deny_tools: strings(deny),
            ..AgentSpec::default()
        };
        let may = |agent: &AgentSpec| may_use(agent, "db", "mcp__db__drop");
        assert!(may(&of(None, &[])));
        assert!(!may(&of(Some(&["read"]), &[])));
        assert!(may(&of(Some(&["mcp__db"]), &[])) && may(&of(Some(&["mcp__db__drop"]), &[])));
        assert!(!may(&of(Some(&["mcp__d"]), &[])));
        assert!(!may(&of(None, &["mcp__db"])) && !may(&of(None, &["mcp__db__drop"])));
    }
}
