//! One tool of a server: its description for the model, and its calls. Used by the parent module and by `search`.

use std::sync::Arc;

use agent_team_llm::ToolSpec;
use rmcp::model::{CallToolRequestParams, Tool as ForeignTool};
use serde_json::Value;

use super::answer;
use super::server::Server;
use crate::adapter::{Access, Call, tool_with};
use crate::permission::Permission;
use crate::tool::{Output, Tool, ToolError};

/// The longest tool name that every provider accepts, in characters.
const NAME_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct RemoteTool {
    pub(super) server: Arc<Server>,
    pub(super) spec: ToolSpec,
    permission: Permission,
    /// The name that the server gives the tool.
    name: String,
    reads_only: bool,
}

impl RemoteTool {
    pub(super) fn new(server: &Arc<Server>, permission: &Permission, tool: &ForeignTool) -> Self {
        let hints = tool.annotations.as_ref();
        Self {
            server: Arc::clone(server),
            spec: ToolSpec {
                name: name_of(server.name(), &tool.name),
                description: tool.description.as_deref().unwrap_or_default().to_owned(),
                input: Value::Object((*tool.input_schema).clone()),
            },
            permission: permission.clone(),
            name: tool.name.clone().into_owned(),
            reads_only: hints.and_then(|hints| hints.read_only_hint) == Some(true),
        }
    }

    /// The number of bytes of the tool in each request.
    pub(super) fn size(&self) -> usize {
        let schema = self.spec.input.to_string().len();
        self.spec.name.len() + self.spec.description.len() + schema
    }

    /// Requests permission, then calls the tool. The request contains the tool's own name and arguments, even if the
    /// model calls the tool through `call_mcp_tool`.
    pub(super) async fn call(&self, input: Value, call: Call<'_>) -> Result<Output, ToolError> {
        let call = Call {
            tool: &self.spec.name,
            input: &input,
            ..call
        };
        let _permit = self.permission.ask(call, &input, None).await?;
        let mut params = CallToolRequestParams::new(self.name.clone());
        if let Value::Object(arguments) = &input {
            params = params.with_arguments(arguments.clone());
        }
        let called = self.server.call(params, call).await;
        answer::output(&called.map_err(ToolError::Failed)?, call.context)
    }

    /// The tool with its own schema.
    pub(super) fn tool(self: &Arc<Self>) -> Box<dyn Tool> {
        // The server's read-only hint decides only whether calls may run concurrently, never whether they need
        // permission.
        let access = match self.reads_only {
            true => self.permission.access(),
            false => Access::Changes,
        };
        tool_with(self.spec.clone(), access, Arc::clone(self), run)
    }
}

async fn run(remote: &Arc<RemoteTool>, input: Value, call: Call<'_>) -> Result<Output, ToolError> {
    remote.call(input, call).await
}

/// The tool's name for the model, in characters that every provider accepts: `mcp__github__create_issue`.
pub(super) fn name_of(server: &str, tool: &str) -> String {
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => c,
        _ => '_',
    };
    let name = format!("mcp__{server}__{tool}");
    name.chars().map(plain).take(NAME_MAX).collect()
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
        assert_eq!(name_of("a", "\x1b[2Jx\u{202e}"), "mcp__a____2Jx_");
        assert_eq!(name_of("a", &"é".repeat(100)).len(), NAME_MAX);
    }
}
