//! Tools that an embedding program defines, and their form for a member's model. Called by the embedding library, which
//! checks them, and by the worker, which offers them.
//!
//! The program's code runs outside the sandbox, and only this code limits the effects of a call. A tool can require
//! permission for each call.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use agent_team_llm::ToolSpec;
use agent_team_protocol::MemberName;
use agent_team_protocol::spec::{TOOLS, is_tool, with_parts};
use serde_json::Value;

use crate::adapter::{Access, Call, tool_with};
use crate::mcp::is_mcp;
use crate::permission::Permission;
use crate::supervisor_client::SupervisorClient;
use crate::team;
use crate::tool::{Tool, ToolError};

/// The tool that gives a question to a helper. The worker adds it to the tools of an agent.
pub const DELEGATE: &str = "delegate";

/// The longest tool name that every provider accepts, in characters.
const NAME_MAX: usize = 64;

type CustomRun = dyn Fn(Value, CustomCall) -> CustomFuture + Send + Sync;
type CustomFuture = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// A tool of the embedding program, for the models of its members.
#[derive(Clone)]
pub struct CustomTool {
    spec: ToolSpec,
    reads_only: bool,
    needs_permission: bool,
    run: Arc<CustomRun>,
}

/// The caller of a [`CustomTool`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CustomCall {
    pub member: MemberName,
    /// The working directory of the member's tools.
    pub directory: PathBuf,
}

impl CustomTool {
    /// `name`: at most 64 letters, digits, `-` and `_`; not the name of a built-in tool. `schema`: the JSON Schema of an
    /// object, which describes the arguments to the model.
    ///
    /// `run` receives the arguments that the model wrote: an object that need not match the schema. Its result is text
    /// for the model, and so is its error. Secrets of the team are redacted in both, and a result of more than 30,000
    /// bytes loses its middle. `run` is called on the member's thread and must not block. Its future is dropped when the
    /// member is interrupted or stopped. A panic is an error of the call.
    pub fn new<F>(
        name: impl Into<String>,
        description: impl Into<String>,
        schema: Value,
        run: impl Fn(Value, CustomCall) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<String, String>> + Send + 'static,
    {
        Self {
            spec: ToolSpec {
                name: name.into(),
                description: description.into(),
                input: schema,
            },
            reads_only: false,
            needs_permission: false,
            run: Arc::new(move |input, call| Box::pin(run(input, call))),
        }
    }

    /// Declares that the tool changes nothing. Its calls may then run before a required plan is approved. They may also
    /// run concurrently, unless they need permission.
    #[must_use]
    pub fn reads_only(mut self) -> Self {
        self.reads_only = true;
        self
    }

    /// Makes each call a permission request under the tool's name. Without this setting, every call runs. No rule can
    /// name the tool: the mode `bypass` allows its calls, the modes `plan` and `dont-ask` deny them, and in all other
    /// modes each call needs a decision.
    #[must_use]
    pub fn needs_permission(mut self) -> Self {
        self.needs_permission = true;
        self
    }

    pub fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    /// Whether [`CustomTool::reads_only`] was set.
    pub fn changes_nothing(&self) -> bool {
        self.reads_only
    }

    /// The tool for one member.
    pub fn for_member(&self, client: &SupervisorClient, permission: &Permission) -> Box<dyn Tool> {
        let permission = self.needs_permission.then(|| permission.clone());
        let access = match (self.reads_only, &permission) {
            (true, Some(permission)) => permission.access(),
            (true, None) => Access::Reads,
            (false, _) => Access::Changes,
        };
        let offered = OfferedTool {
            run: Arc::clone(&self.run),
            member: client.member.clone(),
            permission,
        };
        tool_with(self.spec.clone(), access, offered, run)
    }
}

impl fmt::Debug for CustomTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomTool")
            .field("name", &self.spec.name)
            .finish_non_exhaustive()
    }
}

struct OfferedTool {
    run: Arc<CustomRun>,
    member: MemberName,
    /// `None`: calls run without a request.
    permission: Option<Permission>,
}

async fn run(tool: &OfferedTool, input: Value, call: Call<'_>) -> Result<String, ToolError> {
    let _permit = match &tool.permission {
        Some(permission) => Some(permission.ask(call, call.input, None).await?),
        None => None,
    };
    let caller = CustomCall {
        member: tool.member.clone(),
        directory: call.context.cwd.clone(),
    };
    (tool.run)(input, caller).await.map_err(ToolError::Failed)
}

/// The errors in the definitions of custom tools, one message for each. No tool may have the name of another tool.
pub fn faults<'a>(tools: impl IntoIterator<Item = &'a CustomTool>) -> Vec<String> {
    let mut taken: BTreeSet<String> = with_parts(&TOOLS.map(str::to_owned)).into_iter().collect();
    taken.extend(team::tool_names());
    taken.insert(DELEGATE.to_owned());
    let mut faults = Vec::new();
    for CustomTool { spec, .. } in tools {
        let name = &spec.name;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(is_plain) {
            faults.push(format!(
                "{name:?} is not a valid tool name: use 1 to {NAME_MAX} letters, digits, - and _"
            ));
        } else if is_tool(name) || is_mcp(name) || !taken.insert(name.clone()) {
            faults.push(format!("the tool name {name:?} is already used"));
        }
        if spec.input["type"] != "object" {
            faults.push(format!(
                "the schema of the tool {name:?} does not describe an object: set its \"type\" to \"object\""
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn named(name: &str, schema: Value) -> CustomTool {
        CustomTool::new(name, "A tool.", schema, |_, _| async { Ok(String::new()) })
    }

    #[test]
    fn custom_tools_cannot_replace_other_tools() {
        let object = || json!({ "type": "object" });
        assert_eq!(faults([&named("look-up_2", object())]), [""; 0]);
        for name in [
            "bash",
            "bash_output",
            "web_search",
            "complete_task",
            "finish",
            "allow_request",
            "propose_plan",
            "delegate",
            "search_tools",
            "mcp__db__drop",
        ] {
            let found = faults([&named(name, object())]);
            assert_eq!(found, [format!("the tool name {name:?} is already used")]);
        }
        let twice = named("look_up", object());
        assert_eq!(faults([&twice, &twice]).len(), 1);
        for name in ["", "a b", "é", "a\u{1b}[31m", &"a".repeat(65)] {
            assert_eq!(faults([&named(name, object())]).len(), 1, "{name:?}");
        }
        assert_eq!(faults([&named("a", json!("object"))]).len(), 1);
    }
}
