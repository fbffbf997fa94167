//! Calls of Claude Code's tools in the form of the Agent Client Protocol, in which the permission questions and the pane
//! show them. Called by `claude`.

use serde_json::Value;

use super::super::file_change::difference;
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

pub(super) fn needs_decision(tool: &str) -> bool {
    !UNASKED.contains(&tool) && !tool.starts_with(TEAM)
}

pub(super) fn is_dialog(tool: &str) -> bool {
    DIALOGS.contains(&tool)
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
    let changes_file = ["Edit", "Write"].contains(&tool);
    let difference = changes_file.then(|| difference(input)).flatten();
    ToolCall {
        tool_call_id: id.to_owned(),
        title: Some(title),
        kind: Some(kind.to_owned()),
        status: Some("pending".to_owned()),
        content: difference.map(|difference| vec![difference]),
        locations: None,
        raw_input: Some(input.clone()),
    }
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
}
