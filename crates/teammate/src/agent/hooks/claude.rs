//! Translates the names of tools and of their arguments to those of Claude Code and back, so that hooks for Claude Code
//! work with agent-team. Pure. Called by `hooks::call`.
//!
//! Arguments without a counterpart keep their names.

use std::path::Path;

use agent_team_protocol::permissions::Mode;
use serde_json::{Map, Value, json};

/// The names of a tool and of its arguments, in agent-team and in Claude Code.
struct Counterpart {
    ours: &'static str,
    theirs: &'static str,
    /// Pairs: the name in agent-team, and the name in Claude Code.
    arguments: &'static [(&'static str, &'static str)],
}

const COUNTERPARTS: [Counterpart; 9] = [
    Counterpart {
        ours: "bash",
        theirs: "Bash",
        arguments: &[("background", "run_in_background")],
    },
    Counterpart {
        ours: "edit",
        theirs: "Edit",
        arguments: &[
            ("path", "file_path"),
            ("old", "old_string"),
            ("new", "new_string"),
            ("all", "replace_all"),
        ],
    },
    Counterpart {
        ours: "write",
        theirs: "Write",
        arguments: &[("path", "file_path")],
    },
    Counterpart {
        ours: "read",
        theirs: "Read",
        arguments: &[("path", "file_path")],
    },
    Counterpart {
        ours: "grep",
        theirs: "Grep",
        arguments: &[
            ("ignore_case", "-i"),
            ("context", "-C"),
            ("limit", "head_limit"),
        ],
    },
    Counterpart {
        ours: "glob",
        theirs: "Glob",
        arguments: &[],
    },
    Counterpart {
        ours: "fetch",
        theirs: "WebFetch",
        arguments: &[],
    },
    Counterpart {
        ours: "web_search",
        theirs: "WebSearch",
        arguments: &[],
    },
    Counterpart {
        ours: "todo",
        theirs: "TodoWrite",
        arguments: &[],
    },
];

pub(super) const FILE_PATH: &str = "file_path";

/// The argument with the time limit of a command: in seconds in agent-team, in milliseconds in Claude Code.
const SECONDS: &str = "timeout_seconds";
const MILLISECONDS: &str = "timeout";

/// The permission mode in Claude Code that is closest to this mode.
pub(super) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Plan => "plan",
        Mode::DontAsk => "dontAsk",
        Mode::Default => "default",
        Mode::AcceptEdits | Mode::Sandboxed => "acceptEdits",
        Mode::Bypass => "bypassPermissions",
    }
}

fn counterpart(tool: &str) -> Option<&'static Counterpart> {
    COUNTERPARTS.iter().find(|known| known.ours == tool)
}

/// The tool's name in Claude Code, or its name in agent-team if Claude Code has no such tool.
pub(super) fn tool_name(tool: &str) -> &str {
    counterpart(tool).map_or(tool, |known| known.theirs)
}

/// The arguments with the names of Claude Code. Resolves a relative `file_path` against `cwd`.
pub(super) fn arguments(tool: &str, ours: &Value, cwd: &Path) -> Value {
    let Some(known) = counterpart(tool) else {
        return ours.clone();
    };
    let rename = |name: &str| {
        let mut pairs = known.arguments.iter();
        let pair = pairs.find(|(ours, _)| *ours == name);
        pair.map_or(name, |(_, theirs)| theirs).to_owned()
    };
    let mut theirs = renamed(ours, &rename);
    if let Some(path) = theirs.get_mut(FILE_PATH)
        && let Some(relative) = path.as_str()
    {
        *path = json!(cwd.join(relative));
    }
    if tool == "bash"
        && let Some(fields) = theirs.as_object_mut()
        && let Some(seconds) = fields.remove(SECONDS)
    {
        let ms = seconds
            .as_u64()
            .map(|seconds| json!(seconds.saturating_mul(1000)));
        fields.insert(MILLISECONDS.to_owned(), ms.unwrap_or(seconds));
    }
    theirs
}

/// The arguments from a hook, with the names that the tool uses.
pub(super) fn own_arguments(tool: &str, theirs: Map<String, Value>) -> Value {
    let Some(known) = counterpart(tool) else {
        return Value::Object(theirs);
    };
    let rename = |name: &str| {
        let mut pairs = known.arguments.iter();
        let pair = pairs.find(|(_, theirs)| *theirs == name);
        pair.map_or(name, |(ours, _)| ours).to_owned()
    };
    let mut ours = renamed(&Value::Object(theirs), &rename);
    if tool == "bash"
        && let Some(fields) = ours.as_object_mut()
        && let Some(ms) = fields.remove(MILLISECONDS)
    {
        let seconds = ms.as_u64().map(|ms| json!(ms.div_ceil(1000)));
        fields.insert(SECONDS.to_owned(), seconds.unwrap_or(ms));
    }
    ours
}

/// Renames the fields of the value at every depth: a call can contain a list of edits.
fn renamed(value: &Value, rename: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| (rename(name), renamed(value, rename)));
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.iter().map(|item| renamed(item, rename)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// The result of a call of this tool of Claude Code, in the field `text`. Hooks for Claude Code read the other fields.
pub(super) fn response(tool: &str, input: &Value, text: &str) -> Value {
    let mut response = json!({ "success": true, "text": text });
    if tool == "Bash" {
        response["stdout"] = text.into();
        response["stderr"] = "".into();
        response["interrupted"] = false.into();
    }
    if let Some(path) = input.get(FILE_PATH) {
        response["filePath"] = path.clone();
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_renamed_there_and_back() {
        let ours = [
            (
                "edit",
                json!({"path": "/w/src/a.rs", "old": "x", "new": "y", "all": true}),
                json!({"file_path": "/w/src/a.rs", "old_string": "x", "new_string": "y", "replace_all": true}),
            ),
            (
                "bash",
                json!({"command": "make", "timeout_seconds": 5, "background": true}),
                json!({"command": "make", "timeout": 5000, "run_in_background": true}),
            ),
            (
                "grep",
                json!({"pattern": "x", "path": "src", "ignore_case": true}),
                json!({"pattern": "x", "path": "src", "-i": true}),
            ),
            ("mcp__db__read", json!({"path": "t"}), json!({"path": "t"})),
        ];
        for (tool, ours, theirs) in ours {
            assert_eq!(arguments(tool, &ours, Path::new("/w")), theirs);
            let Value::Object(theirs) = theirs else {
                panic!("an object");
            };
            assert_eq!(own_arguments(tool, theirs), ours);
        }
    }

    #[test]
    fn hooks_receive_absolute_paths_of_files() {
        let theirs = arguments("read", &json!({"path": "src/a.rs"}), Path::new("/w"));
        assert_eq!(theirs, json!({"file_path": "/w/src/a.rs"}));
    }
}
