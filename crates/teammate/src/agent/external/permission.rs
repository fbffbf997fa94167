//! Decides whether an external agent may execute a call. Called by the loop, once for each question of the agent.
//!
//! The rules judge a call of a known kind as a call of the native tool: a shell line as `bash`, a change of one
//! file as `edit`, a fetched address as `fetch`, reading a file as `read`, searching a directory as `grep`. Every other call
//! needs a decision; so does a call with inputs that the
//! rules do not judge, such as another directory, and the user sees all of its inputs. The agent's own program executes
//! the call, so nothing confines it, and its shell reads the line.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use agent_team_protocol::text::visible_line;
use agent_team_terminal_ui::Tone;
use agent_team_tools::{Permission, Permit, TerminalDecision, ToolContext};
use serde_json::{Value, json};

use super::channel::{PermissionAnswer, PermissionQuestion, Withdrawn};
use super::wire::{CallContent, ToolCall};
use crate::agent::output_sink::OutputSink;

/// The inputs of a shell line, besides the directory, that do not change what the line does.
const RUN_INPUTS: &[&str] = &[
    "command",
    "description",
    "reason",
    "timeout",
    "timeout_ms",
    "is_background",
    "run_in_background",
    "parsed_cmd",
    "call_id",
    "turn_id",
    "approval_id",
    "threadId",
    "turnId",
    "itemId",
    "available_decisions",
    "availableDecisions",
];

/// The inputs in which agents pass the working directory of a shell line.
const DIRECTORY_INPUTS: &[&str] = &["cwd", "workdir", "directory"];

/// The inputs of a fetch that send no data to the address.
const FETCH_INPUTS: &[&str] = &["url", "prompt", "format", "timeout", "description"];

/// The inputs in which agents pass the file that a call reads, or the directory that it searches.
const PATH_INPUTS: &[&str] = &["filePath", "file_path", "path"];

/// The inputs of a call that reads a file or searches a directory, besides [`PATH_INPUTS`].
const READ_INPUTS: &[&str] = &["offset", "limit", "pattern", "include"];

/// The kinds of calls of the protocol. They are parts of the names that rules refer to.
const KINDS: &[&str] = &[
    "read",
    "edit",
    "delete",
    "move",
    "search",
    "execute",
    "think",
    "fetch",
    "switch_mode",
];

/// The outcome of a question.
pub(super) struct Decided {
    /// The id of the call.
    pub(super) call: String,
    /// Kept until the call has ended. `None`: the call was denied, or the question withdrawn.
    pub(super) permit: Option<Permit>,
    /// Why the call was denied, for the agent: its protocol has no field for it.
    pub(super) denied: Option<String>,
}

/// Asks for permission, and answers the agent. Dropping the future withdraws the request. The first decision counts: the
/// user can also answer in the agent's own terminal interface.
pub(super) async fn decide(
    mut question: PermissionQuestion,
    agent: String,
    permission: Permission,
    context: Arc<ToolContext>,
    sink: OutputSink,
) -> Decided {
    let call = question.call.tool_call_id.clone();
    let (tool, arguments) = as_call(&agent, &question.call, &context.cwd);
    let pending = question.take_pending();
    let progress = |text: &str| {
        pending();
        sink.lines(Tone::Runtime, text.trim_end());
    };
    let terminal_decision = TerminalDecision::default();
    let answered = terminal_decision.clone();
    let withdrawn = question.take_withdrawn();
    // Completes before the request is dropped, which withdraws the request.
    let withdrawn = async move {
        let withdrawn = withdrawn.await;
        if let Withdrawn::Answered { allowed } = withdrawn {
            answered.get_or_init(|| allowed);
        }
        withdrawn
    };
    let asked =
        permission.ask_for_external(&tool, &arguments, &context, &progress, &terminal_decision);
    let (permit, denied) = tokio::select! {
        asked = asked => match asked {
            Ok(permit) => {
                question.answer(PermissionAnswer::Allow);
                (Some(permit), None)
            }
            Err(error) => {
                let title = question_title(&arguments, &tool);
                let gives_reason = question.gives_reason;
                question.answer(PermissionAnswer::Deny(error.to_string()));
                let note = format!("Your call `{title}` was denied. {error}");
                (None, (!gives_reason).then_some(note))
            }
        },
        withdrawn = withdrawn => {
            if let Withdrawn::Answered { allowed } = withdrawn {
                let what = if allowed { "allowed" } else { "denied" };
                let title = question_title(&arguments, &tool);
                let line = format!("`{title}` was {what} in the dialog of {agent}");
                sink.lines(Tone::Runtime, &line);
            }
            (None, None)
        }
    };
    Decided {
        call,
        permit,
        denied,
    }
}

fn question_title(arguments: &Value, tool: &str) -> String {
    let subject = ["command", "path", "url", "title"];
    let mut subjects = subject.iter().filter_map(|name| arguments[name].as_str());
    visible_line(subjects.next().unwrap_or(tool)).into_owned()
}

/// The call as the rules judge it, and as the user sees it: the tool and its arguments.
fn as_call(agent: &str, call: &ToolCall, cwd: &Path) -> (String, Value) {
    let kind = call.kind.as_deref().unwrap_or("other");
    let input = call.raw_input.clone().unwrap_or(Value::Null);
    let locations = call.locations.iter().flatten();
    let mut paths: Vec<String> = locations
        .map(|location| location.path.to_string_lossy().into_owned())
        .collect();
    let diffs = contents_of(call).filter_map(|content| match content {
        CallContent::Diff {
            path,
            old_text,
            new_text,
        } => {
            let old = old_text.as_deref().unwrap_or_default();
            let diff = agent_team_tools::unified_diff(&path.to_string_lossy(), old, new_text);
            Some((path, diff))
        }
        CallContent::Patch { path, diff } => Some((path, Some(diff.clone()))),
        CallContent::Content { .. } | CallContent::Other => None,
    });
    let diffs: Vec<_> = diffs.collect();
    let changed = diffs.iter().map(|(path, _)| path.to_string_lossy());
    paths.extend(changed.map(Cow::into_owned));
    paths.sort();
    paths.dedup();
    match (kind, paths.as_slice()) {
        ("execute", _) if is_plain_run(&input, cwd) => {
            if let Some(line) = shell_line(&input["command"]) {
                return ("bash".to_owned(), json!({ "command": line }));
            }
        }
        ("edit", [path]) => {
            if let [(_, Some(diff))] = diffs.as_slice() {
                return ("edit".to_owned(), json!({ "path": path, "diff": diff }));
            }
        }
        ("read", [path]) if reads_only(&input, path, cwd) => {
            return ("read".to_owned(), json!({ "path": path }));
        }
        ("search", [path]) if input["pattern"].is_string() && reads_only(&input, path, cwd) => {
            let pattern = &input["pattern"];
            return (
                "grep".to_owned(),
                json!({ "pattern": pattern, "path": path }),
            );
        }
        ("fetch", _) if has_only(&input, &[FETCH_INPUTS]) => {
            if let Some(url) = input["url"].as_str() {
                return ("fetch".to_owned(), json!({ "url": url }));
            }
        }
        _ => {}
    }
    let kind = match KINDS.contains(&kind) {
        true => kind,
        false => "other",
    };
    // The prefix keeps the name apart from the names of native tools.
    let tool = format!("acp_{agent}_{kind}");
    let title = call.title.clone().unwrap_or_default();
    let mut arguments = json!({ "title": title, "input": input, "paths": paths });
    let patches = contents_of(call).filter_map(|content| match content {
        CallContent::Patch { diff, .. } => Some(diff.as_str()),
        CallContent::Diff { .. } | CallContent::Content { .. } | CallContent::Other => None,
    });
    let patches: String = patches.collect();
    if !patches.is_empty() {
        arguments["diff"] = patches.into();
    }
    (tool, arguments)
}

fn contents_of(call: &ToolCall) -> impl Iterator<Item = &CallContent> {
    call.content.iter().flatten()
}

/// Whether the shell line alone determines what is executed: it runs in the member's directory, with nothing added.
fn is_plain_run(input: &Value, cwd: &Path) -> bool {
    let mut directories = DIRECTORY_INPUTS.iter().map(|name| &input[*name]);
    has_only(input, &[RUN_INPUTS, DIRECTORY_INPUTS])
        && directories.all(|directory| {
            let path = directory.as_str().map(Path::new);
            directory.is_null() || path == Some(cwd)
        })
}

/// Whether the call reads nothing but this file or directory. Without a path, a call reads the member's directory.
fn reads_only(input: &Value, path: &str, cwd: &Path) -> bool {
    let mut paths = PATH_INPUTS.iter().filter_map(|name| input[*name].as_str());
    let read = cwd.join(paths.next().unwrap_or_default());
    has_only(input, &[READ_INPUTS, PATH_INPUTS])
        && paths.next().is_none()
        && read.components().eq(Path::new(path).components())
}

/// Whether the input has no other fields than these.
fn has_only(input: &Value, known: &[&[&str]]) -> bool {
    let mut fields = input.as_object().into_iter().flatten();
    fields.all(|(name, value)| {
        value.is_null() || known.iter().any(|names| names.contains(&name.as_str()))
    })
}

/// The shell line of a command: a text, or the words `bash -c LINE` or `bash -lc LINE`.
fn shell_line(command: &Value) -> Option<String> {
    if let Some(line) = command.as_str() {
        return Some(line.to_owned());
    }
    let words: Option<Vec<&str>> = command.as_array()?.iter().map(Value::as_str).collect();
    match words?.as_slice() {
        [shell, "-c" | "-lc", line] if ["bash", "sh", "/bin/bash", "/bin/sh"].contains(shell) => {
            Some((*line).to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool_of(kind: &str, input: Value) -> String {
        let call = json!({ "toolCallId": "call-1", "kind": kind, "rawInput": input });
        let call = serde_json::from_value(call).unwrap();
        as_call("ida", &call, Path::new("/project")).0
    }

    #[test]
    fn a_call_with_unjudged_inputs_is_not_a_native_tool() {
        let run = |input| tool_of("execute", input);
        assert_eq!(run(json!({ "command": "ls", "timeout": 5 })), "bash");
        let here = json!({ "command": ["bash", "-lc", "ls"], "cwd": "/project", "env": null });
        assert_eq!(run(here), "bash");
        let others = [
            json!({ "command": "rm", "args": ["-rf", "."] }),
            json!({ "command": "ls", "cwd": "/elsewhere" }),
            json!({ "command": "ls", "env": { "PATH": "/elsewhere" } }),
            json!({ "command": ["python", "-c", "1"] }),
            json!(null),
        ];
        for other in others {
            assert_eq!(run(other.clone()), "acp_ida_execute", "{other}");
        }
        assert_eq!(
            tool_of("fetch", json!({ "url": "https://a.example" })),
            "fetch"
        );
        let sent = json!({ "url": "https://a.example", "body": "text" });
        assert_eq!(tool_of("fetch", sent), "acp_ida_fetch");
    }

    #[test]
    fn a_call_that_reads_is_judged_by_the_path_that_it_names() {
        let tool_of = |kind: &str, path: &str, input: Value| {
            let call = json!({ "toolCallId": "call-1", "kind": kind, "rawInput": input,
                "locations": [{ "path": path }] });
            let call = serde_json::from_value(call).unwrap();
            as_call("ida", &call, Path::new("/project"))
        };
        let read = json!({ "filePath": "src/a.rs", "limit": 5 });
        let (tool, arguments) = tool_of("read", "/project/src/a.rs", read);
        assert_eq!(
            (&*tool, arguments),
            ("read", json!({ "path": "/project/src/a.rs" }))
        );
        let search = json!({ "pattern": "fn", "include": "*.rs" });
        let (tool, arguments) = tool_of("search", "/project", search.clone());
        let expected = json!({ "pattern": "fn", "path": "/project" });
        assert_eq!((&*tool, arguments), ("grep", expected));
        for (kind, path, input) in [
            ("read", "/project/a", json!({ "filePath": "/elsewhere/a" })),
            (
                "read",
                "/project/a",
                json!({ "filePath": "a", "path": "b" }),
            ),
            ("read", "/project/a", json!({ "filePath": "a", "url": "b" })),
            ("read", "/project/a", json!({})),
            ("search", "/project/src", search),
            ("search", "/project", json!({ "query": "fn" })),
        ] {
            let (tool, _) = tool_of(kind, path, input.clone());
            assert_eq!(tool, format!("acp_ida_{kind}"), "{input}");
        }
    }
}
