//! Converts calls of OpenCode's tools to the form of the Agent Client Protocol, for the permission questions and the
//! pane. Called by `opencode`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::wire::{CallContent, ContentBlock, Location, ToolCall};

/// The call that a part of a message shows. `None`: its input is not known yet.
pub(super) fn call(part: &Value) -> Option<ToolCall> {
    let (tool, state) = (text(&part["tool"]), &part["state"]);
    let status = match state["status"].as_str() {
        Some("running") => "in_progress",
        Some("completed") => "completed",
        Some("error") => "failed",
        _ => return None,
    };
    let output = state["output"].as_str().or(state["error"].as_str());
    let content = output.filter(|output| !output.is_empty()).map(|output| {
        let text = output.to_owned();
        vec![CallContent::Content {
            content: ContentBlock::Text { text },
        }]
    });
    Some(ToolCall {
        tool_call_id: text(&part["callID"]).to_owned(),
        title: Some(title(tool, &state["input"])),
        kind: Some(kind(tool).to_owned()),
        status: Some(status.to_owned()),
        content,
        locations: None,
        raw_input: None,
    })
}

/// The call for which OpenCode asks permission. `input`: the input of the tool, if it is known. `cwd`: the directory of
/// the server.
pub(super) fn asked_call(asked: &Value, input: Option<&Value>, cwd: &Path) -> ToolCall {
    let permission = text(&asked["permission"]);
    let metadata = &asked["metadata"];
    let mut call = ToolCall {
        tool_call_id: asked_id(asked).to_owned(),
        kind: Some("other".to_owned()),
        raw_input: Some(json!({
            "permission": permission, "patterns": asked["patterns"], "metadata": metadata, "input": input,
        })),
        ..ToolCall::default()
    };
    match permission {
        "bash" => {
            call.title = Some(text(&metadata["command"]).to_owned());
            call.kind = Some("execute".to_owned());
            // The rules judge the line alone, so every other input of the tool must be known.
            if let Some(input) = input.filter(|input| input["command"] == metadata["command"]) {
                call.raw_input = Some(input.clone());
            }
        }
        "webfetch" => {
            call.title = Some(format!("fetch {}", text(&metadata["url"])));
            call.kind = Some("fetch".to_owned());
            if let Some(input) = input.filter(|input| input["url"] == metadata["url"]) {
                call.raw_input = Some(input.clone());
            }
        }
        "edit" => {
            let changes = changes(metadata);
            let names: Vec<_> = changes.iter().map(|(path, _)| path.display()).collect();
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            call.title = Some(format!("edit {}", names.join(", ")));
            // A change of several files, or of a file that is moved or removed, is not one edit.
            let is_one = changes.len() == 1 && count(&asked["patterns"]) == 1 && is_plain(metadata);
            call.kind = Some(if is_one { "edit" } else { "move" }.to_owned());
            call.locations = Some(locations(changes.iter().map(|(path, _)| path.clone())));
            let patches = changes.into_iter();
            let patches = patches.map(|(path, diff)| CallContent::Patch { path, diff });
            call.content = Some(patches.collect());
        }
        "read" | "glob" | "grep" => {
            let name = if permission == "read" {
                "filePath"
            } else {
                "path"
            };
            call.title = Some(title(permission, input.unwrap_or(metadata)));
            call.kind = Some(kind(permission).to_owned());
            if let Some(input) = input {
                call.raw_input = Some(input.clone());
                let path = cwd.join(text(&input[name]));
                call.locations = Some(locations([path]));
            }
        }
        "external_directory" => {
            let patterns = asked["patterns"].as_array().into_iter().flatten();
            let patterns: Vec<_> = patterns.filter_map(Value::as_str).collect();
            call.title = Some(format!("work outside the project: {}", patterns.join(", ")));
        }
        tool => {
            call.title = Some(match input {
                Some(input) => title(tool, input),
                None => tool.to_owned(),
            });
            call.kind = Some(kind(tool).to_owned());
        }
    }
    call
}

/// The id of the call for which OpenCode asks permission, or else the id of the request.
pub(super) fn asked_id(asked: &Value) -> &str {
    let call = asked["tool"]["callID"].as_str();
    call.unwrap_or_else(|| text(&asked["id"]))
}

/// The changed files, and their diffs. A patch of several files lists them in `files`.
fn changes(metadata: &Value) -> Vec<(PathBuf, String)> {
    let files = metadata["files"].as_array().into_iter().flatten();
    let files: Vec<_> = files.collect();
    if files.is_empty() {
        let path = PathBuf::from(text(&metadata["filepath"]));
        return vec![(path, text(&metadata["diff"]).to_owned())];
    }
    let changes = files.into_iter().map(|file| {
        let path = file["filePath"].as_str().unwrap_or_default();
        let diff = file["patch"].as_str().or(file["diff"].as_str());
        (PathBuf::from(path), diff.unwrap_or_default().to_owned())
    });
    changes.collect()
}

/// Whether the metadata describes the change of one file at an absolute path.
fn is_plain(metadata: &Value) -> bool {
    let files = metadata["files"].as_array();
    let is_update = |file: &Value| {
        ["add", "update"].contains(&text(&file["type"])) && file["movePath"].is_null()
    };
    files.is_none_or(|files| files.iter().all(is_update))
        && changes(metadata)
            .iter()
            .all(|(path, diff)| path.is_absolute() && !diff.is_empty())
}

fn locations(paths: impl IntoIterator<Item = PathBuf>) -> Vec<Location> {
    let paths = paths.into_iter();
    paths.map(|path| Location { path }).collect()
}

/// The title of a call of a tool.
fn title(tool: &str, input: &Value) -> String {
    if tool == "bash"
        && let Some(command) = input["command"].as_str()
    {
        return command.to_owned();
    }
    let subjects = ["filePath", "path", "pattern", "url", "query", "description"];
    let mut subjects = subjects.iter().filter_map(|name| input[*name].as_str());
    match subjects.next() {
        Some(subject) => format!("{tool} {subject}"),
        None => tool.to_owned(),
    }
}

fn kind(tool: &str) -> &'static str {
    match tool {
        "bash" => "execute",
        "edit" | "write" | "patch" | "apply_patch" => "edit",
        "read" => "read",
        "glob" | "grep" | "list" | "codesearch" | "websearch" => "search",
        "webfetch" => "fetch",
        _ => "other",
    }
}

fn count(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(permission: &str, patterns: Value, metadata: Value) -> Value {
        json!({ "id": "per_1", "permission": permission, "patterns": patterns, "metadata": metadata,
            "tool": { "messageID": "msg_1", "callID": "call_1" } })
    }

    fn kind_of(asked: &Value, input: Option<&Value>) -> String {
        asked_call(asked, input, Path::new("/p")).kind.unwrap()
    }

    #[test]
    fn a_change_of_several_files_is_not_one_edit() {
        let one = json!({ "filepath": "/p/a.txt", "diff": "+a" });
        assert_eq!(
            kind_of(&asked("edit", json!(["a.txt"]), one.clone()), None),
            "edit"
        );
        let file =
            |path: &str, kind: &str| json!({ "filePath": path, "type": kind, "patch": "+a" });
        let files =
            |files: Value| json!({ "filepath": "a.txt, b.txt", "diff": "+a", "files": files });
        for (patterns, metadata) in [
            (json!(["a.txt", "b.txt"]), one),
            (
                json!(["a.txt"]),
                json!({ "filepath": "a.txt", "diff": "+a" }),
            ),
            (json!(["a.txt"]), json!({ "filepath": "/p/a.txt" })),
            (json!(["a.txt"]), files(json!([file("/p/a.txt", "delete")]))),
            (
                json!(["a.txt", "b.txt"]),
                files(json!([file("/p/a.txt", "add"), file("/p/b.txt", "update")])),
            ),
        ] {
            let asked = asked("edit", patterns, metadata);
            assert_eq!(kind_of(&asked, None), "move", "{asked}");
        }
    }

    #[test]
    fn a_line_with_unknown_inputs_shows_all_that_is_known() {
        let asked = asked("bash", json!(["ls"]), json!({ "command": "ls" }));
        let input = json!({ "command": "ls", "workdir": "/elsewhere" });
        assert_eq!(
            asked_call(&asked, Some(&input), Path::new("/p")).raw_input,
            Some(input)
        );
        let other = json!({ "command": "rm" });
        for unknown in [None, Some(&other)] {
            let input = asked_call(&asked, unknown, Path::new("/p"))
                .raw_input
                .unwrap();
            assert_eq!(input["metadata"]["command"], "ls");
        }
    }
}
