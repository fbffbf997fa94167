//! Converts calls of Claude Code's tools to the form of the Agent Client Protocol, for the permission questions and the
//! pane. Called by `claude`.

use std::path::Path;

use serde_json::Value;

use super::super::file_change::difference;
use super::super::file_read::{ReadTool, located};
use super::super::wire::{CallContent, ContentBlock, ToolCall};

/// Tools that need no decision of agent-team: they change nothing outside of the conversation, or ask the user
/// themselves. Claude Code's own rules apply to these tools. If Claude Code still asks about such a tool, its question
/// becomes a request. Every other tool, including tools of later versions, needs a decision.
const UNASKED: &[&str] = &[
    "Agent",
    "AskUserQuestion",
    "BashOutput",
    "EnterPlanMode",
    "ExitPlanMode",
    "KillShell",
    "ListAgents",
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

/// Tools that only read. If the team's rules allow a call of such a tool, Claude Code's own rules still apply to the
/// call.
const READS: &[ReadTool] = &[
    ReadTool::directory("Glob", &["pattern"]),
    ReadTool::directory("Grep", &["glob"]),
    ReadTool::file("Read"),
];

/// Tools that show a dialog of their own, which only the user can answer.
const DIALOGS: &[&str] = &["AskUserQuestion", "EnterPlanMode", "ExitPlanMode"];

/// The prefix of the team's tools.
const TEAM: &str = "mcp__team__";

pub(super) fn needs_decision(tool: &str) -> bool {
    !UNASKED.contains(&tool) && !tool.starts_with(TEAM)
}

pub(super) fn reads(tool: &str) -> Option<&'static ReadTool> {
    READS.iter().find(|known| known.name == tool)
}

pub(super) fn is_dialog(tool: &str) -> bool {
    DIALOGS.contains(&tool)
}

/// Converts a call. `cwd`: the working directory of Claude Code; empty if it is unknown.
pub(super) fn call(id: &str, tool: &str, input: &Value, cwd: &Path) -> ToolCall {
    let (kind, subject) = match tool {
        "Bash" => ("execute", "command"),
        "Edit" | "Write" | "MultiEdit" => ("edit", "file_path"),
        "NotebookEdit" => ("edit", "notebook_path"),
        "WebFetch" => ("fetch", "url"),
        "Read" => ("read", "file_path"),
        // `Glob` reads names, and no contents.
        "Glob" => ("read", "pattern"),
        "Grep" => ("search", "pattern"),
        _ => ("other", "description"),
    };
    let title = match input[subject].as_str() {
        Some(subject) if kind == "execute" => subject.to_owned(),
        Some(subject) => format!("{tool} {subject}"),
        None => tool.to_owned(),
    };
    let changes_file = ["Edit", "Write"].contains(&tool);
    let difference = changes_file.then(|| difference(input)).flatten();
    let (input, locations) = match reads(tool) {
        Some(tool) => located(tool, input, cwd),
        None => (input.clone(), None),
    };
    ToolCall {
        tool_call_id: id.to_owned(),
        title: Some(title),
        kind: Some(kind.to_owned()),
        status: Some("pending".to_owned()),
        content: difference.map(|difference| vec![difference]),
        locations,
        raw_input: Some(input),
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
            "Read",
            "WebFetch",
            "mcp__other__run",
            "NewTool",
        ] {
            assert!(needs_decision(tool), "{tool}");
        }
        for tool in ["TodoWrite", "mcp__team__send_message"] {
            assert!(!needs_decision(tool), "{tool}");
        }
    }
}
