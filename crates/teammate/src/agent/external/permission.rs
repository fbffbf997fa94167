//! Decides whether an external agent may execute a call. Called by the loop, once for each question of the agent.
//!
//! The rules judge a call of a known kind as a call of the native tool: a shell line as `bash`, a change of one file as
//! `edit`, a fetched address as `fetch`, reading a file as `read`, searching a directory as `grep`. Every other call
//! needs a decision, and the user sees all of its inputs. Two kinds of calls also need a decision: a call with inputs
//! that the rules do not judge, such as another directory, and a search of a directory that contains a file restricted
//! by `Read` rules, because agent-team cannot leave the file out. The agent's own program executes the call, so nothing
//! confines it, and its shell reads the line.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use agent_team_protocol::text::visible_label;
use agent_team_terminal_ui::Tone;
use agent_team_tools::guard::Guard;
use agent_team_tools::{Permission, Permit, TerminalDecision, ToolContext};
use serde_json::{Value, json};
use tokio::sync::Notify;

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

/// The inputs of a call that reads a file or searches a directory, besides [`PATH_INPUTS`]. They select the parts of
/// the file, or of the files below the directory, that are shown.
const READ_INPUTS: &[&str] = &[
    "offset",
    "limit",
    "pages",
    "pattern",
    "include",
    "glob",
    "type",
    "ignore",
    "file_filtering_options",
    "output_mode",
    "head_limit",
    "multiline",
    "context",
    "-A",
    "-B",
    "-C",
    "-i",
    "-n",
    "-o",
    "x1",
    "y1",
    "x2",
    "y2",
];

/// The kinds of calls of the protocol. The names that rules refer to contain them.
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

/// The longest title of a call in a line for the user or the agent, in characters.
pub(super) const TITLE_MAX: usize = 200;

/// A line for the user about a call that agent-team has allowed and that has not run.
pub(super) const DENIED_BEFORE: &str =
    "the user had denied the call in its dialog before it was allowed";

/// A line for the user about a call that agent-team has denied and that has run.
pub(super) const ALLOWED_BEFORE: &str =
    "the user had allowed the call in its dialog before it was denied";

/// The outcome of a question.
pub(super) struct PermissionOutcome {
    /// The id of the call.
    pub(super) call: String,
    /// Kept until the call has ended. `None`: the call was denied, or the question withdrawn.
    pub(super) permit: Option<Permit>,
    /// Why the call was denied, for the agent, if the answer cannot contain the reason.
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
) -> PermissionOutcome {
    let call = question.call.tool_call_id.clone();
    let (tool, arguments) = as_call(&agent, &question.call, &context.cwd, &context.guard);
    let pending = question.take_pending();
    // The supervisor has answered with the id of the request.
    let known = Notify::new();
    let progress = |text: &str| {
        known.notify_one();
        pending();
        sink.lines(Tone::Runtime, text.trim_end());
    };
    let terminal_decision = TerminalDecision::default();
    let withdrawn = question.take_withdrawn();
    // Record the user's answer before the request is dropped, which withdraws it.
    let withdrawn = async {
        let withdrawn = withdrawn.await;
        if let Withdrawn::Answered { allowed } = withdrawn {
            // Only a known request is withdrawn with the user's answer. If the call of the supervisor were dropped, the
            // audit would not contain the answer.
            known.notified().await;
            terminal_decision.get_or_init(|| allowed);
        }
        withdrawn
    };
    let asked =
        permission.ask_for_external(&tool, &arguments, &context, &progress, &terminal_decision);
    let (permit, denied) = tokio::select! {
        // If the user's answer and a decision are ready, the user's answer counts.
        biased;
        withdrawn = withdrawn => {
            if let Withdrawn::Answered { allowed } = withdrawn {
                let what = if allowed { "allowed" } else { "denied" };
                let title = question_title(&arguments, &tool);
                let line = format!("`{title}` was {what} in the dialog of {agent}, or by its hooks");
                sink.lines(Tone::Runtime, &line);
            }
            (None, None)
        }
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
    };
    PermissionOutcome {
        call,
        permit,
        denied,
    }
}

fn question_title(arguments: &Value, tool: &str) -> String {
    let subject = ["command", "path", "url", "title"];
    let mut subjects = subject.iter().filter_map(|name| arguments[name].as_str());
    visible_label(subjects.next().unwrap_or(tool), TITLE_MAX)
}

/// The call in the form that the rules judge and the user sees: the tool and its arguments.
fn as_call(agent: &str, call: &ToolCall, cwd: &Path, guard: &Guard) -> (String, Value) {
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
        ("search", [path])
            if input["pattern"].is_string()
                && reads_only(&input, path, cwd)
                && !guard.may_cover_below(Path::new(path)) =>
        {
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
        as_call("ida", &call, Path::new("/project"), &Guard::default()).0
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
            as_call("ida", &call, Path::new("/project"), &Guard::default())
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
