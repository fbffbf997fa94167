//! The team tools of a member, for an agent loop that an embedding program implements. Called by the program's engine,
//! and by every task or thread to which the engine passes them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use agent_team_llm::{ToolCall, ToolSpec};
use agent_team_terminal_ui::Tone;
use agent_team_tools::{Output, Tool, ToolContext, ToolError};
use serde_json::Value;

use crate::agent::calls::{waits_for, without_secrets};
use crate::agent::output_sink::OutputSink;

/// The team tools of one member: `send_message`, `create_task`, `complete_task`, `wait`, … Cheap to clone.
///
/// A call acts as this member, and the supervisor decides about it. After the end of the member's launch, every call
/// fails.
#[derive(Clone)]
pub struct TeamTools {
    tools: Arc<BTreeMap<String, Box<dyn Tool>>>,
    context: Arc<ToolContext>,
    sink: OutputSink,
}

impl TeamTools {
    pub(crate) fn new(
        tools: Vec<Box<dyn Tool>>,
        context: Arc<ToolContext>,
        sink: OutputSink,
    ) -> Self {
        let named = tools
            .into_iter()
            .map(|tool| (tool.spec().name.clone(), tool));
        Self {
            tools: Arc::new(named.collect()),
            context,
            sink,
        }
    }

    /// The name, description and JSON Schema of each tool, sorted by name. A lead has more tools than a teammate.
    pub fn specs(&self) -> Vec<ToolSpec> {
        self.tools
            .values()
            .map(|tool| tool.spec().clone())
            .collect()
    }

    /// Whether a tool changes nothing.
    pub(crate) fn reads_only(&self, name: &str) -> bool {
        self.tools.get(name).is_some_and(|tool| tool.reads_only())
    }

    /// The text without the secrets of the team.
    pub(crate) fn redacted(&self, text: &str) -> String {
        self.context.secrets.redact(text).into_owned()
    }

    /// Runs one call and returns the text for the model, at most 30,000 bytes. Secrets of the team are redacted.
    ///
    /// `wait` and `ask` wait for other members or the user; dropping the future ends the wait. Must be called within a
    /// Tokio runtime with a timer.
    ///
    /// # Errors
    /// [`ToolError::Input`] if there is no such tool or the arguments do not match its schema. [`ToolError::Failed`] if
    /// the supervisor refuses the call, or the member's launch has ended. The text is written for the model.
    pub async fn call(&self, name: &str, input: Value) -> Result<String, ToolError> {
        let Some(tool) = self.tools.get(name) else {
            let names: Vec<&str> = self.tools.keys().map(String::as_str).collect();
            let names = names.join(", ");
            return Err(ToolError::Input(format!(
                "there is no tool {name}. Tools: {names}"
            )));
        };
        let call = ToolCall {
            id: String::new(),
            name: name.to_owned(),
            input: input.to_string(),
        };
        let waiting = waits_for(&call).map(|waits| {
            self.sink.set_waiting(Some(waits));
            ReportedWait(&self.sink)
        });
        let print = |text: &str| self.sink.lines(Tone::Runtime, text.trim_end());
        let outcome = tool.run(input, &self.context, &print).await;
        drop(waiting);
        let Output { text, .. } = without_secrets(outcome, &self.context)?;
        Ok(text)
    }
}

impl fmt::Debug for TeamTools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.tools.keys()).finish()
    }
}

/// Reports the end of a wait when this value is dropped, even if the whole call is dropped.
struct ReportedWait<'a>(&'a OutputSink);

impl Drop for ReportedWait<'_> {
    fn drop(&mut self) {
        self.0.set_waiting(None);
    }
}
