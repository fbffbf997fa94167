//! Imports role files of other programs, such as `.claude/agents/*.md` and `.nyzhi/agents/*.md`: maps their tools, models
//! and keys. Called by [`super::file`], and by the conversion of other programs' teams.
//!
//! Unknown keys and tools cause a warning. An imported role never has more tools than in the other program.

use agent_team_protocol::spec::{Colour, is_tool, reading_tools};
use agent_team_protocol::value::Effort;
use agent_team_providers::ModelName;

use super::super::source::Source;
use super::super::table::{At, colours};
use super::definition::Role;
use super::front_matter::{Field, RoleText, Value, split};

/// Other programs' tools, each with the tool of agent-team that corresponds to it.
const TOOLS: &[(&str, &str)] = &[
    ("Bash", "bash"),
    ("Edit", "edit"),
    ("Glob", "glob"),
    ("Grep", "grep"),
    ("LS", "glob"),
    ("MultiEdit", "edit"),
    ("Read", "read"),
    ("TodoRead", "todo"),
    ("TodoWrite", "todo"),
    ("WebFetch", "fetch"),
    ("WebSearch", "web_search"),
    ("Write", "write"),
    // Nyzhi's names that differ from agent-team's.
    ("web_fetch", "fetch"),
    ("todowrite", "todo"),
    ("todoread", "todo"),
    ("multiedit", "edit"),
    ("list_dir", "glob"),
    // The tool names and display names of Qwen Code that differ from those of all other programs.
    ("FindFiles", "glob"),
    ("ListFiles", "glob"),
    ("ReadFile", "read"),
    ("ReadFolder", "glob"),
    ("ReadManyFiles", "read"),
    ("SearchFiles", "grep"),
    ("Shell", "bash"),
    ("WriteFile", "write"),
    ("grep_search", "grep"),
    ("list_directory", "glob"),
    ("read_file", "read"),
    ("read_many_files", "read"),
    ("replace", "edit"),
    ("run_shell_command", "bash"),
    ("search_file_content", "grep"),
    ("todo_write", "todo"),
    ("write_file", "write"),
];

/// Other programs' tools that are parts of `bash` here. Permission for one of them alone permits no commands.
const PARTS_OF_BASH: [&str; 3] = ["BashOutput", "KillBash", "KillShell"];

/// Other programs' team tools. They are dropped silently: every member has agent-team's team tools.
const TEAM_TOOLS: [&str; 15] = [
    "Agent",
    "SendMessage",
    "Task",
    "TaskCreate",
    "TaskGet",
    "TaskList",
    "TaskUpdate",
    "TeamCreate",
    "agent",
    "send_message",
    "task",
    "task_create",
    "task_get",
    "task_list",
    "task_update",
];

/// The permission modes of other programs, each with the effect of an import. `None`: nothing is lost.
const MODES: &[(&str, Option<&str>)] = &[
    ("default", None),
    // The role gets only tools that read.
    (PLAN, None),
    (
        "acceptEdits",
        Some("is ignored: the mode of the team decides about edits"),
    ),
    (
        "auto",
        Some("is ignored: the mode and the rules of the team decide"),
    ),
    (
        "auto-edit",
        Some("is ignored: the mode of the team decides about edits"),
    ),
    ("bubble", Some("is ignored: every request reaches the user")),
    (
        "dontAsk",
        Some("is ignored: calls that need a decision ask the user"),
    ),
    ("bypassPermissions", Some(REFUSED_MODE)),
    ("yolo", Some(REFUSED_MODE)),
];

const PLAN: &str = "plan";

const REFUSED_MODE: &str = "is refused: a role cannot skip permission requests";

/// Keys that have no counterpart in a role, and what to do instead.
const INSTEAD: &[(&str, &str)] = &[
    ("hooks", "add the hooks to [hooks] of the team file"),
    ("mcpServers", "add the servers to [mcp] of the team file"),
    (
        "isolation",
        "the member works in the directory of the project",
    ),
    ("memory", "agents keep notes with their own tools"),
    ("skills", "agents find the skills of the project themselves"),
];

/// Short names of models. `inherit` and `default` select the team's model.
const MODEL_ALIASES: &[(&str, Option<&str>)] = &[
    ("inherit", None),
    ("default", None),
    ("sonnet", Some("anthropic/claude-sonnet-4-6")),
    ("opus", Some("anthropic/claude-opus-4-6")),
    ("haiku", Some("anthropic/claude-haiku-4-5")),
];

const COLOURS: &[(&str, Colour)] = &[("purple", Colour::Violet), ("white", Colour::Grey)];

/// Reads the front matter into `role` and returns the name. Adds warnings to the source.
pub(super) fn read(
    source: &Source<'_>,
    text: &RoleText<'_>,
    role: &mut Role,
) -> Option<At<String>> {
    let (mut name, mut read_only) = (None, false);
    for field in &text.fields {
        let at = field.key.at;
        match (field.key.value, &field.value) {
            ("name", Value::Text(value)) => {
                name = Some(At {
                    value: value.clone(),
                    at,
                });
            }
            ("description", Value::Text(value)) => role.description.clone_from(value),
            ("model", Value::Text(value)) => role.agent_keys.model = model(source, value, at),
            ("tools" | "allowed_tools", Value::Text(value))
                if ["*", "all"].contains(&value.as_str()) => {}
            ("tools" | "allowed_tools", _) => {
                let mut only = tools(source, items(field));
                // Both keys are set: a tool must be in both lists.
                if let Some(before) = &role.agent_keys.tools {
                    only.retain(|tool| before.contains(tool));
                }
                role.agent_keys.tools = Some(only);
            }
            ("disallowedTools" | "disallowed_tools", _) => {
                let denied = denied(source, items(field));
                role.agent_keys.deny_tools.extend(denied);
            }
            ("permissionMode" | "approvalMode", Value::Text(value)) => {
                read_only |= permission_mode(source, field.key, value);
            }
            ("effort", Value::Text(value)) => role.agent_keys.effort = effort(source, value, at),
            ("maxTurns" | "max_steps", Value::Text(value)) => match value.parse() {
                Ok(steps) if steps > 0 => role.agent_keys.max_steps = Some(steps),
                Ok(_) | Err(_) => source.fault(
                    at,
                    format!(
                        "`{}: {value}` is ignored: it must be a whole number of at least 1",
                        field.key.value
                    ),
                ),
            },
            ("color" | "colour", Value::Text(value)) => role.colour = colour(value),
            ("read_only", Value::Text(value)) if value == "false" => {}
            // YAML has several words for true.
            ("read_only", _) => read_only = true,
            (key, _) => source.fault(at, format!("`{key}` is ignored: {}", instead(key))),
        }
    }
    if read_only {
        limit_to_reading(role);
    }
    name
}

/// The alternative to a key that has no counterpart.
fn instead(key: &str) -> &'static str {
    let known = INSTEAD.iter().find(|(theirs, _)| *theirs == key);
    known.map_or("agent-team has no such key", |(_, instead)| *instead)
}

/// Removes all tools of a role that can change something.
pub(crate) fn limit_to_reading(role: &mut Role) {
    let mut only = reading_tools();
    if let Some(tools) = role.agent_keys.tools.take() {
        only.retain(|tool| tools.contains(tool));
    }
    role.agent_keys.tools = Some(only);
}

/// Reports a permission mode that is not imported. Returns whether the mode permits only tools that read.
pub(crate) fn permission_mode(source: &Source<'_>, key: At<&str>, value: &str) -> bool {
    let mode = MODES.iter().find(|(mode, _)| *mode == value);
    let At { value: key, at } = key;
    match mode {
        Some((_, None)) => {}
        Some((_, Some(why))) => source.fault(at, format!("`{key}: {value}` {why}")),
        None => source.fault(at, format!("`{key}: {value}` is ignored: it is unknown")),
    }
    value == PLAN
}

pub(crate) fn effort(source: &Source<'_>, value: &str, at: usize) -> Option<Effort> {
    let effort = value.parse().ok();
    if effort.is_none() {
        let names = Effort::NAMES.map(|(name, _)| name).join(", ");
        let message = format!("`effort: {value}` is ignored: the efforts are {names}");
        source.fault(at, message);
    }
    effort
}

pub(crate) fn colour(value: &str) -> Option<Colour> {
    let known = colours();
    let mut known = known.iter().chain(COLOURS);
    let found = known.find(|(word, _)| *word == value);
    found.map(|(_, colour)| *colour)
}

/// The model in agent-team's form. An unknown model is reported. The path of a recording counts as unknown: it is not a
/// model of the other program.
pub(crate) fn model(source: &Source<'_>, value: &str, at: usize) -> Option<String> {
    if let Some((_, model)) = MODEL_ALIASES.iter().find(|(alias, _)| *alias == value) {
        return model.map(str::to_owned);
    }
    match value.parse::<ModelName>() {
        Ok(name @ ModelName::Of { .. }) => Some(name.to_string()),
        Ok(ModelName::Replay(_)) | Err(_) => {
            source.fault(
                at,
                format!("`model: {value}` is not known: the team's model is used"),
            );
            None
        }
    }
}

pub(crate) fn items(field: &Field<'_>) -> Vec<At<String>> {
    match &field.value {
        Value::List(items) => items.clone(),
        Value::Text(text) => {
            let at = field.key.at;
            // A list in brackets over several lines, or with a comment after it, is read as a text.
            let text = text.strip_prefix('[').unwrap_or(text);
            let text = text.strip_suffix(']').unwrap_or(text);
            let parts = split(At { value: text, at });
            parts.into_iter().map(|part| At { at, ..part }).collect()
        }
        Value::Nested => Vec::new(),
    }
}

/// The allowed tools. A tool that is allowed only for some arguments is dropped: a role cannot limit arguments, and
/// permission for the whole tool would be wider than in the file.
pub(crate) fn tools(source: &Source<'_>, items: Vec<At<String>>) -> Vec<String> {
    let (mut tools, mut open) = (Vec::new(), 0_usize);
    for item in items {
        let name = item.value.as_str();
        // In `Bash(a, Edit, b)`, `Edit` is an argument.
        let is_argument = open > 0;
        open = (open + name.matches('(').count()).saturating_sub(name.matches(')').count());
        if is_argument {
            let message = format!("`{name}` is ignored: it is an argument of another tool");
            source.fault(item.at, message);
            continue;
        }
        let (bare, only_for) = match name.split_once('(') {
            Some((bare, _)) => (bare, true),
            None => (name, false),
        };
        match corresponding_tool(bare) {
            Some(_) if only_for => source.fault(
                item.at,
                format!("`{name}` is ignored: a role cannot limit a tool to some arguments"),
            ),
            Some(tool) => tools.push(tool.to_owned()),
            None if TEAM_TOOLS.contains(&bare) || PARTS_OF_BASH.contains(&bare) => {}
            None => source.fault(item.at, format!("unknown tool {name:?} is ignored")),
        }
    }
    tools.sort();
    tools.dedup();
    tools
}

/// The denied tools. A tool that is denied for some arguments is denied completely.
pub(crate) fn denied(source: &Source<'_>, items: Vec<At<String>>) -> Vec<String> {
    let mut tools = Vec::new();
    for item in items {
        let bare = match item.value.split('(').next().unwrap_or_default().trim() {
            part if PARTS_OF_BASH.contains(&part) => "bash",
            // All tools of a server have the name `mcp__<server>` here.
            all if all.starts_with("mcp__") => all.strip_suffix("__*").unwrap_or(all),
            bare => bare,
        };
        match corresponding_tool(bare) {
            Some(tool) => tools.push(tool.to_owned()),
            None if TEAM_TOOLS.contains(&bare) => {}
            None => source.fault(item.at, format!("unknown tool {:?} is ignored", item.value)),
        }
    }
    tools.sort();
    tools.dedup();
    tools
}

fn corresponding_tool(name: &str) -> Option<&str> {
    let mapped = TOOLS.iter().find(|(theirs, _)| *theirs == name);
    mapped
        .map(|(_, ours)| *ours)
        .or_else(|| is_tool(name).then_some(name))
}
