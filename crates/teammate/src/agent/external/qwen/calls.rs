//! Converts calls of Qwen Code's tools to the form of the Agent Client Protocol, for the permission questions and the
//! pane. Called by `qwen`.

use std::path::Path;

use serde_json::Value;

use super::super::file_change::difference;
use super::super::file_read::{ReadTool, located};
use super::super::wire::{CallContent, ContentBlock, ToolCall};

/// Tools that need no decision of agent-team: they change nothing outside of the conversation, or ask the user
/// themselves. Qwen Code's own rules apply to these tools. If Qwen Code still asks about such a tool, its question
/// becomes a request. Every other tool, including tools of later versions, needs a decision.
const UNASKED: &[&str] = &[
    "agent",
    "ask_user_question",
    "enter_plan_mode",
    "exit_plan_mode",
    "get_goal",
    "list_agents",
    "propose_goal",
    "report_findings",
    "skill",
    "task_create",
    "task_list",
    "task_stop",
    "task_update",
    "todo_write",
    "tool_search",
    "update_goal",
];

/// Tools that only read. If the team's rules allow a call of such a tool, Qwen Code's own rules still apply to the
/// call.
const READS: &[ReadTool] = &[
    ReadTool::file("display_image"),
    ReadTool::directory("glob", &["pattern"]),
    ReadTool::directory("grep_search", &["glob"]),
    ReadTool::directory("list_directory", &[]),
    ReadTool::file("read_file"),
    ReadTool::file("zoom_image"),
];

/// Tools that show a dialog of their own, which only the user can answer.
const DIALOGS: &[&str] = &["ask_user_question", "enter_plan_mode", "exit_plan_mode"];

/// The prefix of the team's tools.
const TEAM: &str = "mcp__team__";

pub(super) fn needs_decision(tool: &str) -> bool {
    !UNASKED.contains(&tool) && !tool.starts_with(TEAM)
}

pub(super) fn is_dialog(tool: &str) -> bool {
    DIALOGS.contains(&tool)
}

/// Converts a call. `cwd`: the working directory of Qwen Code; empty if it is unknown.
pub(super) fn call(id: &str, tool: &str, input: &Value, cwd: &Path) -> ToolCall {
    let (kind, subject) = match tool {
        "run_shell_command" => ("execute", "command"),
        "edit" | "write_file" => ("edit", "file_path"),
        "notebook_edit" => ("edit", "notebook_path"),
        "web_fetch" => ("fetch", "url"),
        "read_file" | "display_image" | "zoom_image" => ("read", "file_path"),
        "list_directory" => ("read", "path"),
        // `glob` reads names, and no contents.
        "glob" => ("read", "pattern"),
        "grep_search" => ("search", "pattern"),
        _ => ("other", "description"),
    };
    let title = match input[subject].as_str() {
        Some(subject) if kind == "execute" => subject.to_owned(),
        Some(subject) => format!("{tool} {subject}"),
        None => tool.to_owned(),
    };
    let changes_file = ["edit", "write_file"].contains(&tool);
    let difference = changes_file.then(|| difference(input)).flatten();
    let (input, locations) = match READS.iter().find(|known| known.name == tool) {
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

/// The end of a call. `result`: the block `tool_result`.
pub(super) fn ended(id: &str, result: &Value) -> ToolCall {
    let is_failed = result["is_error"] == true;
    let text = result["content"].as_str().unwrap_or_default().to_owned();
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
    fn tools_of_later_versions_of_qwen_need_a_decision() {
        for tool in [
            "run_shell_command",
            "edit",
            "read_file",
            "web_fetch",
            "monitor",
            "mcp__other__run",
            "new_tool",
        ] {
            assert!(needs_decision(tool), "{tool}");
        }
        for tool in ["todo_write", "mcp__team__send_message"] {
            assert!(!needs_decision(tool), "{tool}");
        }
    }
}
