//! Calls of Qwen Code's tools in the form of the Agent Client Protocol, in which the permission questions and the pane show
//! them. Called by `qwen`.

use serde_json::Value;

use super::super::file_change::difference;
use super::super::wire::{CallContent, ContentBlock, Location, ToolCall};

/// Tools that need no decision of agent-team: they change nothing outside of the conversation, or ask the user
/// themselves. Qwen Code's own rules apply to them, and a question of Qwen Code about them is a request. Every other tool,
/// including tools of later versions, needs a decision.
const UNASKED: &[&str] = &[
    "agent",
    "ask_user_question",
    "display_image",
    "enter_plan_mode",
    "exit_plan_mode",
    "get_goal",
    "glob",
    "grep_search",
    "list_agents",
    "list_directory",
    "propose_goal",
    "read_file",
    "report_findings",
    "skill",
    "task_create",
    "task_list",
    "task_stop",
    "task_update",
    "todo_write",
    "tool_search",
    "update_goal",
    "zoom_image",
];

/// Tools that ask the user a question of their own, which only the user can answer.
const DIALOGS: &[&str] = &["ask_user_question", "enter_plan_mode", "exit_plan_mode"];

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
        "run_shell_command" => ("execute", "command"),
        "edit" | "write_file" => ("edit", "file_path"),
        "notebook_edit" => ("edit", "notebook_path"),
        "web_fetch" => ("fetch", "url"),
        "read_file" => ("read", "file_path"),
        "list_directory" => ("read", "path"),
        "glob" | "grep_search" => ("search", "pattern"),
        _ => ("other", "description"),
    };
    let title = match input[subject].as_str() {
        Some(subject) if kind == "execute" => subject.to_owned(),
        Some(subject) => format!("{tool} {subject}"),
        None => tool.to_owned(),
    };
    let changes_file = ["edit", "write_file"].contains(&tool);
    let difference = changes_file.then(|| difference(input)).flatten();
    // The rules judge a call that reads by the file that it names.
    let read = (kind == "read").then(|| input[subject].as_str()).flatten();
    let location = |path: &str| vec![Location { path: path.into() }];
    ToolCall {
        tool_call_id: id.to_owned(),
        title: Some(title),
        kind: Some(kind.to_owned()),
        status: Some("pending".to_owned()),
        content: difference.map(|difference| vec![difference]),
        locations: read.map(location),
        raw_input: Some(input.clone()),
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
            "web_fetch",
            "monitor",
            "mcp__other__run",
            "new_tool",
        ] {
            assert!(needs_decision(tool), "{tool}");
        }
        for tool in ["read_file", "mcp__team__send_message"] {
            assert!(!needs_decision(tool), "{tool}");
        }
    }
}
