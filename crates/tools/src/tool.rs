//! The trait of tools, with the result and the errors of a call. Implemented by `adapter` and by wrappers of tools;
//! called by the agent loop.

use std::path::PathBuf;
use std::pin::Pin;

use agent_team_llm::{Media, ToolSpec};
use agent_team_protocol::note::NOTE_TOOL;
use agent_team_protocol::spec::AgentSpec;
use serde_json::Value;

use crate::context::ToolContext;

/// The name of the tool that applies patches.
pub const APPLY_PATCH: &str = "apply_patch";

/// A running call.
pub type ToolFuture<'a> = Pin<Box<dyn Future<Output = Result<Output, ToolError>> + Send + 'a>>;

/// A tool that a model can call.
pub trait Tool: Send + Sync + std::fmt::Debug {
    fn spec(&self) -> &ToolSpec;

    /// Returns whether the tool changes nothing. Calls of such tools may run concurrently.
    fn reads_only(&self) -> bool;

    /// Executes one call. `progress` receives progress output for the user and must not block. A text that begins with
    /// `\r` is a status line, which replaces the previous status line of the call. Dropping the future
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
    /// The text for the model. The agent loop cuts out the middle of a text that exceeds [`ToolContext::output_max`].
    pub text: String,
    /// A unified diff of the change, for the user.
    pub diff: Option<String>,
    /// The files that the call has changed, as absolute paths.
    pub changed: Vec<PathBuf>,
    /// The images and PDFs that the result shows to the model.
    pub media: Vec<Media>,
}

impl From<String> for Output {
    fn from(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }
}

/// The reason why a call failed; the model receives the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// The arguments are invalid. The text states what to correct.
    #[error("{0}")]
    Input(String),
    /// The call was refused, or failed while it ran.
    #[error("{0}")]
    Failed(String),
}

/// Returns whether the role and the member's settings permit the tool of this name. A patch can make the same changes
/// as `edit` and `write`, so a denial of one of these tools denies patches too. A note is a file, so a denial of
/// `write` denies notes too.
pub fn may_use(agent: &AgentSpec, name: &str) -> bool {
    let names = |list: &[String]| list.iter().any(|tool| tool == name);
    let also_denied: &[&str] = match name {
        APPLY_PATCH => &["edit", "write"],
        NOTE_TOOL => &["write"],
        _ => &[],
    };
    let denies = |tool: &String| tool == name || also_denied.contains(&tool.as_str());
    agent.tools.as_deref().is_none_or(names) && !agent.deny_tools.iter().any(denies)
}

/// Runs blocking work on a blocking thread. The work continues if the future is dropped.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ToolError::Failed(format!("a bug in this tool: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denying_edit_or_write_denies_patches() {
        let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let may = |tools: Option<&[&str]>, deny: &[&str]| {
            let agent = AgentSpec {
                tools: tools.map(strings),
                deny_tools: strings(deny),
                ..AgentSpec::default()
            };
            may_use(&agent, APPLY_PATCH)
        };
        assert!(may(None, &[]) && may(Some(&["apply_patch"]), &[]));
        assert!(!may(Some(&["edit", "write"]), &[]));
        let no_files = AgentSpec {
            deny_tools: strings(&["write"]),
            ..AgentSpec::default()
        };
        assert!(!may_use(&no_files, NOTE_TOOL) && may_use(&AgentSpec::default(), NOTE_TOOL));
        assert!(!may(None, &["edit"]) && !may(None, &["write"]) && !may(None, &["apply_patch"]));
    }
}
