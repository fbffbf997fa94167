//! Imports role files of other programs, `.claude/agents/*.md` and `.nyzhi/agents/*.md`: maps their tools, models and
//! keys. Called by [`super::file`].
//!
//! Unknown keys and tools cause a warning. An imported role never has more tools than in the other program.

use agent_team_protocol::spec::{Colour, is_tool, reading_tools};
use agent_team_providers::ModelName;

use super::super::source::Source;
use super::super::table::{At, colours};
use super::definition::Role;
use super::front_matter::{Field, RoleText, Value, split};

/// Other programs' tools, each with the tool of agent-team that corresponds to it.
const TOOLS: &[(&str, &str)] = &[
    ("Bash", "bash"),
    ("BashOutput", "bash"),
    ("Edit", "edit"),
    ("Glob", "glob"),
    ("Grep", "grep"),
    ("KillBash", "bash"),
    ("KillShell", "bash"),
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
];

/// Other programs' team tools. They are dropped silently: every member has agent-team's own.
const TEAM_TOOLS: [&str; 8] = [
    "Agent",
    "SendMessage",
    "Task",
    "TaskCreate",
    "TaskGet",
    "TaskList",
    "TaskUpdate",
    "TeamCreate",
];

/// Short names of models. `inherit` and `default` select the team's model.
const MODELS: &[(&str, Option<&str>)] = &[
    ("inherit", None),
    ("default", None),
    ("sonnet", Some("anthropic/claude-sonnet-4-6")),
    ("opus", Some("anthropic/claude-opus-4-6")),
    ("haiku", Some("anthropic/claude-haiku-4-5")),
];

const COLOURS: &[(&str, Colour)] = &[("purple", Colour::Violet), ("white", Colour::Grey)];

/// Reads the front matter into `role` and returns the name. Warnings go to the source.
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
            ("tools" | "allowed_tools", _) => role.agent_keys.tools = Some(tools(source, field)),
            ("disallowedTools" | "disallowed_tools", _) => {
                role.agent_keys.deny_tools = denied(source, field);
            }
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
            ("color" | "colour", Value::Text(value)) => {
                let known = colours();
                let mut known = known.iter().chain(COLOURS);
                role.colour = known
                    .find(|(word, _)| word == value)
                    .map(|(_, colour)| *colour);
            }
            ("read_only", Value::Text(value)) if value == "true" => read_only = true,
            ("read_only", Value::Text(value)) if value == "false" => {}
            (key, _) => source.fault(
                at,
                format!("`{key}` is ignored: agent-team has no such key"),
            ),
        }
    }
    if read_only {
        let mut only = reading_tools();
        if let Some(tools) = role.agent_keys.tools.take() {
            only.retain(|tool| tools.contains(tool));
        }
        role.agent_keys.tools = Some(only);
    }
    name
}

fn model(source: &Source<'_>, value: &str, at: usize) -> Option<String> {
    if let Some((_, model)) = MODELS.iter().find(|(alias, _)| *alias == value) {
        return model.map(str::to_owned);
    }
    match value.parse::<ModelName>() {
        Ok(name) => Some(name.to_string()),
        Err(_) => {
            source.fault(
                at,
                format!("`model: {value}` is not known: the team's model is used"),
            );
            None
        }
    }
}

fn items(field: &Field<'_>) -> Vec<At<String>> {
    match &field.value {
        Value::List(items) => items.clone(),
        Value::Text(text) => {
            let at = field.key.at;
            let parts = split(At { value: text, at });
            parts.into_iter().map(|part| At { at, ..part }).collect()
        }
        Value::Nested => Vec::new(),
    }
}

/// The allowed tools. A tool that is allowed only for some arguments is dropped: a role cannot limit arguments, and
/// allowing the whole tool would allow more than the file does.
fn tools(source: &Source<'_>, field: &Field<'_>) -> Vec<String> {
    let mut tools = Vec::new();
    for item in items(field) {
        let name = item.value.as_str();
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
            None if TEAM_TOOLS.contains(&bare) => {}
            None => source.fault(item.at, format!("unknown tool {name:?} is ignored")),
        }
    }
    tools.sort();
    tools.dedup();
    tools
}

/// The denied tools. A tool that is denied for some arguments is denied completely.
fn denied(source: &Source<'_>, field: &Field<'_>) -> Vec<String> {
    let mut tools = Vec::new();
    for item in items(field) {
        let bare = item.value.split('(').next().unwrap_or_default();
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
