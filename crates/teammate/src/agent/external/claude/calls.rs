//! Calls of Claude Code's tools in the form of the Agent Client Protocol, in which the permission questions and the pane
//! show them. Called by `claude`.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::super::wire::{CallContent, ContentBlock, ToolCall};

/// Tools that need no decision of agent-team: they change nothing outside of the conversation, or ask the user
/// themselves. Claude Code's own rules apply to them, and a question of Claude Code about them is a request. Every other
/// tool, including tools of later versions, needs a decision.
const UNASKED: &[&str] = &[
    "Agent",
    "AskUserQuestion",
    "BashOutput",
    "EnterPlanMode",
    "ExitPlanMode",
    "Glob",
    "Grep",
    "KillShell",
    "LS",
    "ListAgents",
    "NotebookRead",
    "Read",
    "ReportFindings",
    "Skill",
    "Task",
    "TaskCreate",
    "TaskGet",
    "TaskList",
    "TaskOutput",
    "TaskStop",
    "TaskUpdate",
    "TodoRead",
    "TodoWrite",
    "ToolSearch",
];

/// Tools that ask the user a question of their own, which only the user can answer.
const DIALOGS: &[&str] = &["AskUserQuestion", "EnterPlanMode", "ExitPlanMode"];

/// The prefix of the team's tools.
const TEAM: &str = "mcp__team__";

/// The largest file whose change is shown as a difference, in bytes.
const FILE_MAX: u64 = 1 << 20;

pub(super) fn needs_decision(tool: &str) -> bool {
    !UNASKED.contains(&tool) && !tool.starts_with(TEAM)
}

pub(super) fn is_dialog(tool: &str) -> bool {
    DIALOGS.contains(&tool)
}

#[derive(Deserialize)]
struct Change {
    file_path: PathBuf,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    old_string: Option<String>,
    #[serde(default)]
    new_string: Option<String>,
    #[serde(default)]
    replace_all: bool,
}

pub(super) fn call(id: &str, tool: &str, input: &Value) -> ToolCall {
    let (kind, subject) = match tool {
        "Bash" => ("execute", "command"),
        "Edit" | "Write" | "MultiEdit" => ("edit", "file_path"),
        "NotebookEdit" => ("edit", "notebook_path"),
        "WebFetch" => ("fetch", "url"),
        "Read" => ("read", "file_path"),
        "Glob" | "Grep" => ("search", "pattern"),
        _ => ("other", "description"),
    };
    let title = match input[subject].as_str() {
        Some(subject) if kind == "execute" => subject.to_owned(),
        Some(subject) => format!("{tool} {subject}"),
        None => tool.to_owned(),
    };
    ToolCall {
        tool_call_id: id.to_owned(),
        title: Some(title),
        kind: Some(kind.to_owned()),
        status: Some("pending".to_owned()),
        content: difference(tool, input).map(|difference| vec![difference]),
        locations: None,
        raw_input: Some(input.clone()),
    }
}

/// The change of a file. `None`: the input is shown instead, such as for several changes at once.
fn difference(tool: &str, input: &Value) -> Option<CallContent> {
    if !["Edit", "Write"].contains(&tool) {
        return None;
    }
    let change: Change = Deserialize::deserialize(input).ok()?;
    let (old_text, new_text) = match change {
        Change {
            replace_all: true, ..
        } => return None,
        Change {
            content: Some(content),
            ..
        } => {
            let metadata = std::fs::metadata(&change.file_path);
            if metadata.is_ok_and(|metadata| !metadata.is_file() || metadata.len() > FILE_MAX) {
                return None;
            }
            (std::fs::read_to_string(&change.file_path).ok(), content)
        }
        Change {
            old_string,
            new_string: Some(new),
            ..
        } => (old_string, new),
        Change { .. } => return None,
    };
    Some(CallContent::Diff {
        path: change.file_path,
        old_text,
        new_text,
    })
}

/// The end of a call, with the text of its result.
pub(super) fn ended(id: &str, is_failed: bool, event: &Value) -> ToolCall {
    let response = &event["tool_response"];
    let texts = ["stdout", "stderr"].map(|field| response[field].as_str().unwrap_or_default());
    let mut text = texts.join("");
    if text.is_empty()
        && let Some(error) = event["error"].as_str()
    {
        text = error.to_owned();
    }
    let text = ContentBlock::Text { text };
    ToolCall {
        tool_call_id: id.to_owned(),
        status: Some(if is_failed { "failed" } else { "completed" }.to_owned()),
        content: Some(vec![CallContent::Content { content: text }]),
        ..ToolCall::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tools_of_later_versions_need_a_decision() {
        for tool in [
            "Bash",
            "Edit",
            "Write",
            "WebFetch",
            "mcp__other__run",
            "NewTool",
        ] {
            assert!(needs_decision(tool), "{tool}");
        }
        for tool in ["Read", "mcp__team__send_message"] {
            assert!(!needs_decision(tool), "{tool}");
        }
    }

    #[test]
    fn a_change_of_every_occurrence_is_shown_as_its_input() {
        let input = json!({ "file_path": "/p/a", "old_string": "a", "new_string": "b" });
        assert!(difference("Edit", &input).is_some());
        let input = json!({ "file_path": "/p/a", "old_string": "a", "new_string": "b", "replace_all": true });
        assert!(difference("Edit", &input).is_none());
    }
}
