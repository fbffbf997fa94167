//! Converts items of a conversation of Codex to the form of the Agent Client Protocol, for the permission questions and
//! the pane. Called by `codex`.

use std::path::PathBuf;

use agent_team_tools::unified_diff;
use serde::Deserialize;
use serde_json::Value;

use super::super::wire::{CallContent, ContentBlock, Location, ToolCall};
use super::command::shell_line;

/// A change of a file.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Change {
    path: PathBuf,
    kind: ChangeKind,
    /// The content of a new or removed file; for other changes, the diff without its header.
    diff: String,
}

/// The changes of an item that has not ended.
pub(super) struct ItemChanges {
    /// The id of the turn.
    pub(super) turn: Value,
    pub(super) changes: Vec<Change>,
}

/// A call of an MCP tool that has not ended.
pub(super) struct McpCall {
    pub(super) item: String,
    /// The id of the turn.
    pub(super) turn: Value,
    pub(super) server: Value,
    pub(super) tool: Value,
}

#[derive(Debug, Clone, Deserialize)]
struct ChangeKind {
    #[serde(rename = "type")]
    name: String,
    #[serde(default)]
    move_path: Option<PathBuf>,
}

/// The changes of an item that changes files.
pub(super) fn changes(item: &Value) -> Option<Vec<Change>> {
    Deserialize::deserialize(&item["changes"]).ok()
}

/// The call that an item shows. `None`: the item is not a call.
pub(super) fn call(item: &Value) -> Option<ToolCall> {
    let text = |field: &str| item[field].as_str().unwrap_or_default();
    let (kind, title, content) = match text("type") {
        "commandExecution" => {
            let mut output = text("aggregatedOutput").to_owned();
            if let Some(code) = item["exitCode"].as_i64().filter(|code| *code != 0) {
                output = format!("exit {code}\n{output}");
            }
            ("execute", shell_line(text("command")), texts([output]))
        }
        "fileChange" => {
            let changes = changes(item).unwrap_or_default();
            return Some(ToolCall {
                status: status(text("status")),
                ..change_call(text("id"), &changes)
            });
        }
        "mcpToolCall" => {
            let title = format!("{}.{}", text("server"), text("tool"));
            let results = item["result"]["content"].as_array();
            let results = results.into_iter().flatten();
            let results = results.filter_map(|part| part["text"].as_str());
            let error = item["error"]["message"].as_str();
            let output = results.chain(error).map(str::to_owned);
            ("other", title, texts(output))
        }
        "dynamicToolCall" | "collabAgentToolCall" => (
            "other",
            text("tool").to_owned(),
            texts([text("prompt").to_owned()]),
        ),
        "webSearch" => ("search", format!("search {}", text("query")), Vec::new()),
        "imageView" => ("read", format!("view {}", text("path")), Vec::new()),
        _ => return None,
    };
    Some(ToolCall {
        tool_call_id: text("id").to_owned(),
        title: Some(title),
        kind: Some(kind.to_owned()),
        // An item without a status has already ended when Codex reports it.
        status: status(text("status")).or_else(|| Some("completed".to_owned())),
        content: (!content.is_empty()).then_some(content),
        locations: None,
        raw_input: None,
    })
}

/// The call of an item that changes files.
pub(super) fn change_call(id: &str, changes: &[Change]) -> ToolCall {
    let kinds = changes.iter().map(|change| match &*change.kind.name {
        "add" | "update" if change.kind.move_path.is_none() => "edit",
        "delete" => "delete",
        _ => "move",
    });
    let mut kinds: Vec<_> = kinds.collect();
    kinds.dedup();
    let kind = match kinds.as_slice() {
        [kind] => kind,
        _ => "edit",
    };
    let paths = changes.iter().flat_map(|change| {
        let moved = change.kind.move_path.iter();
        std::iter::once(&change.path).chain(moved)
    });
    let paths: Vec<_> = paths.cloned().collect();
    let names: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    ToolCall {
        tool_call_id: id.to_owned(),
        title: Some(format!("{kind} {}", names.join(", "))),
        kind: Some(kind.to_owned()),
        status: None,
        content: Some(changes.iter().map(patch).collect()),
        locations: Some(paths.into_iter().map(|path| Location { path }).collect()),
        raw_input: None,
    }
}

fn patch(change: &Change) -> CallContent {
    let path = change.path.to_string_lossy();
    let whole = match &*change.kind.name {
        "add" => unified_diff(&path, "", &change.diff),
        "delete" => unified_diff(&path, &change.diff, ""),
        _ => {
            let new = change.kind.move_path.as_ref().unwrap_or(&change.path);
            let new = new.to_string_lossy();
            Some(format!("--- {path}\n+++ {new}\n{}", change.diff))
        }
    };
    CallContent::Patch {
        path: change.path.clone(),
        diff: whole.unwrap_or_else(|| change.diff.clone()),
    }
}

fn status(status: &str) -> Option<String> {
    let known = match status {
        "inProgress" => "in_progress",
        "completed" => "completed",
        "failed" | "declined" => "failed",
        _ => return None,
    };
    Some(known.to_owned())
}

fn texts(texts: impl IntoIterator<Item = String>) -> Vec<CallContent> {
    let texts = texts.into_iter().filter(|text| !text.is_empty());
    let blocks = texts.map(|text| CallContent::Content {
        content: ContentBlock::Text { text },
    });
    blocks.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_of_several_kinds_is_not_one_edit() {
        let change = |path: &str, kind: Value| json!({ "path": path, "kind": kind, "diff": "" });
        let kind_of = |changes: Vec<Value>| {
            let item = json!({ "type": "fileChange", "id": "1", "changes": changes });
            call(&item).unwrap().title.unwrap()
        };
        let add = || change("/a", json!({ "type": "add" }));
        let moved = change("/a", json!({ "type": "update", "move_path": "/b" }));
        assert_eq!(kind_of(vec![add()]), "edit /a");
        assert_eq!(kind_of(vec![moved]), "move /a, /b");
        let removed = || change("/c", json!({ "type": "delete" }));
        assert_eq!(kind_of(vec![removed()]), "delete /c");
        assert_eq!(kind_of(vec![add(), removed()]), "edit /a, /c");
    }
}
