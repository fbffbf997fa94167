//! A tool call between its hooks: `pre_tool`, the call, `post_tool`. Called by `calls`, in the task of the call.
//!
//! The model's answer with the call is stored before the hooks run. The result is stored after `post_tool`, with the
//! text that the hooks add. If the worker is killed in between, the next launch stores that it is unknown whether the
//! call took effect.

use std::path::PathBuf;

use agent_team_protocol::hook::{HookDecision, HookEvent};
use agent_team_protocol::note::{NOTE_TOOL, NoteLevel};
use agent_team_tools::{
    APPLY_PATCH, Output, Permission, Tool, ToolContext, ToolError, allowed_by_hook, patched_paths,
};
use serde_json::{Value, json};

use super::{CombinedAnswer, Hooks, claude};

/// A call that was executed or refused.
pub(in crate::agent) struct HookedCall {
    pub(in crate::agent) outcome: Result<Output, ToolError>,
    /// A hook ends the turn, for this reason.
    pub(in crate::agent) stopped: Option<String>,
}

impl From<Result<Output, ToolError>> for HookedCall {
    fn from(outcome: Result<Output, ToolError>) -> Self {
        Self {
            outcome,
            stopped: None,
        }
    }
}

type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);

impl Hooks {
    /// Executes the call, if its hooks permit. Dropping the future terminates the call or the running hook.
    pub(in crate::agent) async fn call(
        &self,
        tool: &dyn Tool,
        id: &str,
        input: Value,
        progress: Progress<'_>,
    ) -> HookedCall {
        let context = &*self.context.tool_context;
        let mut input = input;
        let mut notes = Vec::new();
        let mut decision = None;
        if self.has(HookEvent::PreTool) {
            let before = self.of_call(HookEvent::PreTool, tool, id, &input, None);
            let before = before.await;
            if let Some(reason) = before.stopped {
                return HookedCall {
                    outcome: Err(blocked(&reason)),
                    stopped: Some(reason),
                };
            }
            if let Some(reason) = before.blocked {
                return Err(blocked(&reason)).into();
            }
            notes.extend(before.texts);
            decision = before.decision;
            if let Some(changed) = before.input {
                input = claude::own_arguments(&tool.spec().name, changed);
                let changed = context.secrets.redact(&input.to_string()).into_owned();
                progress(&format!("a hook changed the arguments: {changed}\n"));
                notes.insert(0, format!("A hook changed the arguments: {changed}"));
            }
        }
        let ran = self.permitted(tool, &input, decision, context, progress);
        let mut output = match ran.await {
            Ok(output) => output,
            Err(error) => return Err(error).into(),
        };
        let mut stopped = None;
        if self.has(HookEvent::PostTool) {
            let text = context.secrets.redact(&output.text).into_owned();
            let after = self.of_call(HookEvent::PostTool, tool, id, &input, Some(&text));
            let after = after.await;
            notes.extend(after.texts);
            notes.extend(after.blocked);
            stopped = after.stopped;
        }
        for note in notes {
            output
                .text
                .push_str(&format!("\n\n(From a hook of the user) {note}"));
        }
        HookedCall {
            outcome: Ok(output),
            stopped,
        }
    }

    /// Runs the tool, after a decision if a hook requires one. The tool still asks for its own permission.
    async fn permitted(
        &self,
        tool: &dyn Tool,
        input: &Value,
        decision: Option<HookDecision>,
        context: &ToolContext,
        progress: Progress<'_>,
    ) -> Result<Output, ToolError> {
        let _permit = match decision {
            None => return tool.run(input.clone(), context, progress).await,
            Some(HookDecision::Allow) => None,
            Some(HookDecision::Ask { reason }) => {
                // Ask even in mode `bypass`: tools need no permission in this mode, but the `ask` of a hook counts.
                let permission = Permission::Ask(self.context.client.clone());
                let name = &tool.spec().name;
                let asked = permission.ask_for_hook(name, input, reason, context, progress);
                Some(asked.await?)
            }
        };
        allowed_by_hook(tool.run(input.clone(), context, progress)).await
    }

    /// Runs the hooks of a call. `text`: the text of the call's result, only at `post_tool`.
    async fn of_call(
        &self,
        event: HookEvent,
        tool: &dyn Tool,
        id: &str,
        input: &Value,
        text: Option<&str>,
    ) -> CombinedAnswer {
        let name = tool.spec().name.as_str();
        let paths = match name == APPLY_PATCH {
            true => patched_paths(input),
            false => Vec::new(),
        };
        if !paths.is_empty() {
            return self.of_patch(event, id, input, &paths, text).await;
        }
        if let Some(path) = self.project_note(name, input) {
            return self.of_note(event, id, input, path, text).await;
        }
        let theirs = claude::tool_name(name);
        let arguments = claude::arguments(name, input, &self.context.tool_context.cwd);
        self.of_arguments(event, &[theirs, name], id, arguments, text)
            .await
    }

    /// Runs the hooks of a patch once for each of its files, as for an edit of that file: a hook that guards a file
    /// with the matcher `Edit` or `Write` must see each change of the file. Before the call, stops at the first file
    /// that a hook refuses. After the call, all files are changed, so the hooks of each file run.
    async fn of_patch(
        &self,
        event: HookEvent,
        id: &str,
        input: &Value,
        paths: &[String],
        text: Option<&str>,
    ) -> CombinedAnswer {
        let subjects = ["Edit", "Write", "MultiEdit", "edit", "write", APPLY_PATCH];
        let mut outcomes = Vec::new();
        for path in paths {
            let path = self.context.tool_context.cwd.join(path);
            let arguments = json!({ "file_path": path, "patch": input["input"] });
            let mut of_file = self
                .of_arguments(event, &subjects, id, arguments, text)
                .await;
            if of_file.input.take().is_some() && of_file.blocked.is_none() {
                of_file.blocked = Some("a hook cannot change the arguments of a patch".to_owned());
            }
            let refuses = of_file.blocked.is_some() || of_file.stopped.is_some();
            outcomes.push(of_file);
            if refuses && event == HookEvent::PreTool {
                break;
            }
        }
        let combined = outcomes.into_iter().reduce(CombinedAnswer::and_file);
        combined.unwrap_or_default()
    }

    /// The path of the project's note that a call changes.
    fn project_note(&self, tool: &str, input: &Value) -> Option<PathBuf> {
        if tool != NOTE_TOOL || input["level"] != "project" {
            return None;
        }
        let name = input["name"].as_str()?.parse().ok()?;
        self.context
            .tool_context
            .notes
            .path(NoteLevel::Project, &name)
    }

    /// Runs the hooks of a note of the project. The note is a file of the project, so a hook that guards files with the
    /// matcher `Edit|Write` must see it.
    async fn of_note(
        &self,
        event: HookEvent,
        id: &str,
        input: &Value,
        path: PathBuf,
        text: Option<&str>,
    ) -> CombinedAnswer {
        let subjects = [NOTE_TOOL, "Write", "write"];
        let path = json!(path);
        let mut arguments = input.clone();
        arguments[claude::FILE_PATH] = path.clone();
        let outcome = self.of_arguments(event, &subjects, id, arguments, text);
        let mut outcome = outcome.await;
        // Remove the path from the arguments of the call: the tool has no such argument.
        let changed = outcome.input.as_mut();
        let changed = changed.and_then(|input| input.remove(claude::FILE_PATH));
        if changed.is_some_and(|changed| changed != path) && outcome.blocked.is_none() {
            outcome.blocked = Some("a hook cannot change the path of a note".to_owned());
        }
        outcome
    }

    /// Runs the hooks of a call with these arguments. The first subject is the name of the tool in Claude Code.
    async fn of_arguments(
        &self,
        event: HookEvent,
        subjects: &[&str],
        id: &str,
        arguments: Value,
        text: Option<&str>,
    ) -> CombinedAnswer {
        let tool = subjects[0];
        let response = text.map(|text| claude::response(tool, &arguments, text));
        let mut fields = vec![
            ("tool_name", tool.into()),
            ("tool_use_id", id.into()),
            ("tool_input", arguments),
        ];
        fields.extend(response.map(|response| ("tool_response", response)));
        self.run(event, subjects, &fields).await
    }
}

/// The error of a blocked call. The pane shows the first line to the user; the second line is for the model.
fn blocked(reason: &str) -> ToolError {
    ToolError::Failed(format!(
        "Blocked by a hook: {reason}\nThe call was not executed; do not attempt the same by other means."
    ))
}
