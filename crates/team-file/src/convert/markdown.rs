//! Reads directories of agent files: Markdown with front matter, as in `.claude/agents` and `.qwen/agents`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent_team_protocol::RoleName;

use super::super::agent::Reader;
use super::super::role::front_matter::{self, Field, Value};
use super::super::role::{self, Layer, import};
use super::super::source::{Fault, Source};
use super::files::Files;
use super::found::{Agent, FilePosition, Found, name_of};

/// The largest number of keys of one agent.
const MAX_KEYS: usize = 1000;

/// The first characters of YAML keys and values that are not plain text.
const NOT_PLAIN: [char; 8] = ['"', '\'', '?', '&', '!', '*', '{', '['];

pub(super) struct Directory {
    pub(super) path: PathBuf,
    /// Whether the other program also reads the nested directories.
    pub(super) deep: bool,
    /// The layer of roles in which agent-team itself reads the directory. `None`: agent-team does not read it.
    pub(super) layer: Option<Layer>,
}

pub(super) fn read(
    directory: &Directory,
    files: &Files<'_>,
    reader: Reader<'_>,
    found: &mut Found,
) {
    let rank = found.next_rank();
    let paths = match files.list(&directory.path, "md", directory.deep) {
        Ok(paths) => paths,
        Err(fault) => return found.faults.push(fault),
    };
    for path in paths {
        let shown = files.shown(&path);
        match files.text(&path) {
            Ok(Some(text)) => match agent(&path, &shown, &text, reader) {
                Ok(Some(mut agent)) => {
                    agent.rank = rank;
                    agent.in_place =
                        directory.layer.is_some() && path.parent() == Some(&directory.path);
                    found.sources.push(shown);
                    found.add(agent);
                }
                Ok(None) => {
                    let message = "is not imported: a file without front matter is not an agent";
                    let position = FilePosition::start_of(shown);
                    found.notes.push(position.fault(message.to_owned()));
                }
                Err(faults) => found.faults.extend(faults),
            },
            // The file was removed after it was listed.
            Ok(None) => {}
            Err(fault) => found.faults.push(fault),
        }
    }
}

/// Reads an agent file; `None` if it has no front matter.
fn agent(
    path: &Path,
    shown: &str,
    text: &str,
    reader: Reader<'_>,
) -> Result<Option<Agent>, Vec<Fault>> {
    let source = Source::new(shown, text);
    let fields = match front_matter::read(text) {
        Ok(read) => read.fields,
        Err(unreadable) => {
            source.fault(unreadable.at, unreadable.value);
            return Err(source.into_faults());
        }
    };
    if fields.is_empty() {
        return Ok(None);
    }
    check_fields(&source, &fields);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let (name, at) = match field(&fields, "name") {
        Some((name, at)) => (name.to_owned(), at),
        None => (stem.to_string(), 0),
    };
    if name_of::<RoleName>(&name).is_none() {
        source.fault_with_hint(
            at,
            format!("{name:?} cannot be converted to a role name"),
            "give the agent a name of lower-case letters, digits and hyphens",
        );
    }
    let faults = source.take_faults();
    if !faults.is_empty() {
        return Err(faults);
    }
    let Some((name, mut role)) = role::of_other_program(shown, &stem, text, reader)? else {
        source.fault(0, "its file name is not a role name: set `name`");
        return Err(source.into_faults());
    };
    let mut notes = std::mem::take(&mut role.warnings);
    if let (Some((written, at)), Some(model)) = (field(&fields, "model"), &role.agent_keys.model)
        && written != model
    {
        let message = format!("`model: {written}` becomes {model}");
        notes.push(source.warning(at, message));
    }
    if let Some((written, at)) = field(&fields, "color")
        && role.colour.is_none()
    {
        let message = format!("`color: {written}` is ignored: agent-team has no such colour");
        notes.push(source.warning(at, message));
    }
    Ok(Some(Agent {
        name,
        role,
        position: FilePosition::at(&source, at),
        rank: 0,
        in_place: false,
        notes,
    }))
}

/// Reports keys that are set twice, names that are not a text, and limits that cannot be read: without these limits,
/// the agent would have more rights.
fn check_fields(source: &Source<'_>, fields: &[Field<'_>]) {
    if fields.len() > MAX_KEYS {
        return source.fault(0, format!("contains more than {MAX_KEYS} keys"));
    }
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for field in fields {
        let (key, at) = (field.key.value, field.key.at);
        if let Some(before) = first.insert(key, at) {
            let line = source.line(before);
            source.fault(at, format!("key `{key}` is already set on line {line}"));
        }
        if key == "name" && !matches!(field.value, Value::Text(_)) {
            source.fault(at, "`name` must be a text in one line");
        }
        if key.starts_with(NOT_PLAIN) || key == "<<" {
            let message = format!("key `{key}` cannot be read: write a plain name");
            source.fault(at, message);
        }
        if !is_readable_limit(field) {
            let message =
                format!("`{key}` cannot be read: write plain names, without anchors, tags and `*`");
            source.fault(at, message);
        }
    }
}

/// Whether a key that limits the agent has a value that can be converted. True for all other keys.
fn is_readable_limit(field: &Field<'_>) -> bool {
    match (field.key.value, &field.value) {
        ("permissionMode" | "approvalMode", Value::Text(text)) => !text.starts_with(NOT_PLAIN),
        (
            "disallowedTools" | "disallowed_tools" | "permissionMode" | "approvalMode",
            Value::Nested,
        )
        | ("permissionMode" | "approvalMode", Value::List(_)) => false,
        ("disallowedTools" | "disallowed_tools", _) => import::items(field)
            .iter()
            .map(|item| item.value.as_str())
            .all(|tool| !tool.starts_with(NOT_PLAIN) && !["all", "mcp__*"].contains(&tool)),
        _ => true,
    }
}

/// The text of a key, and the position of the key.
fn field<'a>(fields: &'a [Field<'_>], key: &str) -> Option<(&'a str, usize)> {
    fields.iter().find_map(|field| match &field.value {
        Value::Text(text) if field.key.value == key => Some((text.as_str(), field.key.at)),
        Value::Text(_) | Value::List(_) | Value::Nested => None,
    })
}
