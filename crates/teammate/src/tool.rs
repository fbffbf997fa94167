//! The `Tool` trait and the built-in tools. Called by the native engine.
//!
//! A tool receives the model's arguments as parsed JSON and returns text for the model. A failure is returned as text
//! that the model can act on; a tool never panics and never ends its member.
//!
//! A reader who looks for …
//! - how a tool is made: `adapter`; schemas and parsing of arguments: `arguments`
//! - path checks: `resolved_path`; opening paths: `beneath`; replacing a file: `file`; diffs: `change`
//! - directory walks: `walk`; git's ignore rules: `ignored`
//! - tools of MCP servers: `mcp`; web search: `web_search`
//! - child processes: `program`; their output: `capture`
//! - permission requests: `permission`; `Read` rules: `guard`; mandatory plans: `plan_first`; the sandbox: `confine`

pub(crate) mod adapter;
mod arguments;
pub(crate) mod bash;
mod beneath;
mod capture;
mod change;
pub mod confine;
mod edit;
mod fetch;
mod file;
mod git;
mod glob;
mod grep;
pub mod guard;
mod ignored;
pub mod mcp;
mod permission;
mod plan_first;
pub(crate) mod program;
mod read;
mod resolved_path;
#[cfg(test)]
mod tests;
mod todo;
mod walk;
pub(crate) mod web_search;
mod write;

pub(crate) use permission::OpenRequest;
pub use permission::Permission;
pub(crate) use plan_first::plan_first;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use agent_team_llm::ToolSpec;
use agent_team_protocol::spec::AgentSpec;
use serde_json::Value;

use self::confine::Confinement;
use self::guard::Guard;
use crate::secret::Secrets;

/// A running call.
pub type ToolFuture<'a> = Pin<Box<dyn Future<Output = Result<Output, ToolError>> + Send + 'a>>;

/// Something that a model can call.
pub trait Tool: Send + Sync + std::fmt::Debug {
    fn spec(&self) -> &ToolSpec;

    /// Returns whether the tool changes nothing. Calls of such tools may run concurrently.
    fn reads_only(&self) -> bool;

    /// Executes one call. `progress` receives progress output for the user and must not block. Dropping the future
    /// terminates the call and every process that it started.
    fn run<'a>(
        &'a self,
        input: Value,
        context: &'a ToolContext,
        progress: &'a (dyn Fn(&str) + Send + Sync),
    ) -> ToolFuture<'a>;
}

/// The result of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// For the model, within [`ToolContext::output_max`].
    pub text: String,
    /// A unified diff of the change, for the user.
    pub diff: Option<String>,
}

impl From<String> for Output {
    fn from(text: String) -> Self {
        Self { text, diff: None }
    }
}

/// The reason why a call failed; the model receives the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// The arguments do not match the schema. The text names the field and the expected type.
    #[error("{0}")]
    Input(String),
    #[error("{0}")]
    Failed(String),
}

/// The execution context of one member's tools, shared by all of its calls.
#[derive(Debug)]
pub struct ToolContext {
    /// Canonical. Tools read and write nothing outside it.
    pub project: PathBuf,
    /// Canonical, within the project. Relative paths are resolved against it.
    pub cwd: PathBuf,
    /// The complete environment of the programs that tools start.
    pub env: Vec<(OsString, OsString)>,
    /// The secret values in `env`. They are redacted in every result and in every stored output.
    pub secrets: Secrets,
    /// The member's own directory for the full text of truncated outputs.
    pub outputs: PathBuf,
    /// The largest size of a result for the model, in bytes. Longer results lose their middle.
    pub output_max: usize,
    /// The versions of the files that the model has read. It may not overwrite a file that it has not read.
    pub seen: Mutex<HashMap<PathBuf, Version>>,
    /// The files of the project that need permission to be read.
    pub guard: Guard,
}

impl ToolContext {
    /// Returns the value of an environment variable of the started programs, unless it is empty. It may be a secret.
    fn variable(&self, name: &str) -> Option<&str> {
        variable(&self.env, name)
    }
}

fn variable<'a>(env: &'a [(OsString, OsString)], name: &str) -> Option<&'a str> {
    let found = env.iter().find(|(variable, _)| variable == name);
    let value = found.and_then(|(_, value)| value.to_str());
    value.map(str::trim).filter(|value| !value.is_empty())
}

/// A file's version when the model read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub len: u64,
    pub modified: Option<SystemTime>,
}

impl Version {
    pub fn of(metadata: &Metadata) -> Version {
        Version {
            len: metadata.len(),
            // A file system without modification times leaves only the length to compare.
            modified: metadata.modified().ok(),
        }
    }
}

/// The permissions and the sandbox of the built-in tools.
#[derive(Debug, Clone)]
pub struct Options {
    pub permission: Permission,
    /// The sandbox of commands that do not request to run outside it. `None`: commands run without a sandbox.
    pub confinement: Option<Arc<Confinement>>,
    /// Whether `fetch` may connect to this machine and its local network.
    pub private_addresses: bool,
}

/// Creates the built-in tools of one member. Tools keep per-member state, so members must not share them.
pub fn domain_tools(options: Options) -> Vec<Box<dyn Tool>> {
    let Options {
        permission,
        confinement,
        private_addresses,
    } = options;
    let mut tools = vec![
        read::read(permission.clone()),
        write::write(permission.clone()),
        edit::edit(permission.clone()),
        glob::glob(),
        grep::grep(permission.clone()),
    ];
    tools.extend(git::tools(permission.clone(), confinement.clone()));
    tools.push(todo::todo());
    tools.extend(bash::tools(permission.clone(), confinement));
    tools.push(fetch::fetch(permission, private_addresses));
    tools
}

/// Returns whether the role and the member's settings permit the tool of this name.
pub(crate) fn may_use(agent: &AgentSpec, name: &str) -> bool {
    let names = |list: &[String]| list.iter().any(|tool| tool == name);
    agent.tools.as_deref().is_none_or(names) && !names(&agent.deny_tools)
}

/// Runs blocking work on a blocking thread. The work continues if the future is dropped.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ToolError::Failed(format!("a bug in this tool: {error}"))),
    }
}

/// A random name for a temporary file.
fn unique() -> std::io::Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(format!("{:016x}", u64::from_ne_bytes(random)))
}
