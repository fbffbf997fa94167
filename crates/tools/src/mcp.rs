//! The tools of MCP servers, offered as `mcp__<server>__<tool>`. Called by the agent loop before its first step.
//!
//! ```text
//! program: started ─┐                                       ┌──────── gone: reconnect ◄─────┐
//!                   ├─► initialize ─► tools/list ─► offered ┴─ call ─► result, or an error ─┘
//! url ──────────────┘       └── fails or times out: reported to model and user, nothing offered
//! ```
//! A server is foreign code: a crash, a hang or an invalid message is an error of one call and never ends the member.
//! The names and descriptions that it returns are untrusted data. A server's program is terminated, with all processes
//! that it started, when the last of its tools is dropped.
//!
//! - a server and its reconnects: `server`; connecting and calling: `connection`
//! - HTTP headers for a server at a URL: `headers`; the result of a call: `answer`

mod answer;
mod connection;
mod headers;
mod server;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agent_team_llm::ToolSpec;
use agent_team_protocol::spec::AgentSpec;
use rmcp::model::{CallToolRequestParams, CallToolResponse, Tool as ForeignTool};
use serde_json::Value;
use tokio::task::JoinSet;

use self::connection::Endpoint;
use self::server::Server;
use crate::adapter::{Access, Call, tool_with};
use crate::context::ToolContext;
use crate::permission::Permission;
use crate::tool::{Tool, ToolError};

const CALL_LIMIT: Duration = Duration::from_secs(300);

/// The longest tool name that every provider accepts, in characters.
const NAME_MAX: usize = 64;

/// The largest number of tools that are offered of one server.
const TOOLS_MAX: usize = 200;

/// The tools of a member's servers.
#[derive(Debug, Default)]
pub struct Offered {
    pub tools: Vec<Box<dyn Tool>>,
    /// One line for each problem with a server, for the model and the user.
    pub problems: Vec<String>,
}

/// Connects to all servers of this member concurrently. Cancel-safe: started programs are terminated.
pub async fn connect(agent: &AgentSpec, permission: &Permission, context: &ToolContext) -> Offered {
    let mut connecting = JoinSet::new();
    for (index, server) in agent.mcp.iter().enumerate() {
        let (name, secrets) = (server.name.clone(), context.secrets.clone());
        let endpoint = Endpoint::new(server, context);
        connecting.spawn(async move {
            let found = Server::connect(endpoint).await;
            let redacted = |why: String| secrets.redact(&why).into_owned();
            (index, name, found.map_err(redacted))
        });
    }
    let mut found = connecting.join_all().await;
    found.sort_by_key(|(index, ..)| *index);
    let mut offered = Offered::default();
    let mut names = BTreeSet::new();
    for (_, name, found) in found {
        match found {
            Ok((server, tools, stray)) => {
                if let Some(printed) = stray {
                    offered.problems.push(format!(
                        "MCP server {name} wrote a line that is not JSON-RPC to stdout: {printed}"
                    ));
                }
                offered.add(agent, permission, &mut names, &Arc::new(server), tools);
            }
            Err(why) => offered.problems.push(format!("MCP server {name}: {why}")),
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
            self.problems.push(format!(
                "MCP server {}: only {TOOLS_MAX} of its {} tools are offered",
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
                    "MCP server {}: two of its tools map to the name {name}",
                    server.name()
                );
                self.problems.push(clash);
                continue;
            }
            let tool = mcp_tool(Arc::clone(server), permission.clone(), name, tool);
            self.tools.push(tool);
        }
    }
}

/// The tool's name for the model, in characters that every provider accepts: `mcp__github__create_issue`.
fn name_of(server: &str, tool: &str) -> String {
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => c,
        _ => '_',
    };
    let name = format!("mcp__{server}__{tool}");
    name.chars().map(plain).take(NAME_MAX).collect()
}

/// Returns whether the role and the member's settings permit a tool: by its name, or by `mcp__<server>` for all tools
/// of a server.
fn may_use(agent: &AgentSpec, server: &str, tool: &str) -> bool {
    let all = format!("mcp__{server}");
    let names = |list: &[String]| list.iter().any(|name| name == tool || *name == all);
    agent.tools.as_deref().is_none_or(names) && !names(&agent.deny_tools)
}

struct RemoteTool {
    server: Arc<Server>,
    permission: Permission,
    /// The name that the server gives the tool.
    name: String,
}

fn mcp_tool(
    server: Arc<Server>,
    permission: Permission,
    name: String,
    tool: ForeignTool,
) -> Box<dyn Tool> {
    let hints = tool.annotations.as_ref();
    // The server's read-only hint only decides whether calls run concurrently, never permissions.
    let access = match hints.and_then(|hints| hints.read_only_hint) {
        Some(true) => permission.access(),
        Some(false) | None => Access::Changes,
    };
    let spec = ToolSpec {
        name,
        description: tool.description.unwrap_or_default().into_owned(),
        input: Value::Object((*tool.input_schema).clone()),
    };
    let remote = RemoteTool {
        server,
        permission,
        name: tool.name.into_owned(),
    };
    tool_with(spec, access, remote, run)
}

async fn run(remote: &RemoteTool, input: Value, call: Call<'_>) -> Result<String, ToolError> {
    let permission = &remote.permission;
    let _permit = permission.ask(call, call.input, None).await?;
    answer::output(remote.call(input).await?, call.context)
}

impl RemoteTool {
    async fn call(&self, input: Value) -> Result<CallToolResponse, ToolError> {
        let mut params = CallToolRequestParams::new(self.name.clone());
        if let Value::Object(arguments) = input {
            params = params.with_arguments(arguments);
        }
        match tokio::time::timeout(CALL_LIMIT, self.server.call(params)).await {
            Ok(answered) => answered.map_err(ToolError::Failed),
            Err(_) => Err(ToolError::Failed(format!(
                "the MCP server {} did not respond within {} s; it is unknown whether the call took effect",
                self.server.name(),
                CALL_LIMIT.as_secs()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tool_names_are_valid_for_every_provider() {
        assert_eq!(
            name_of("git-hub", "issues/create.new"),
            "mcp__git-hub__issues_create_new"
        );
        assert_eq!(name_of("a", &"é".repeat(100)).len(), NAME_MAX);
    }

    #[test]
    fn a_role_names_one_tool_or_a_whole_server() {
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
