//! Reads a role file: Markdown with front matter, whose body is the prompt. Called for every directory of roles and for
//! the built-in roles, and by the conversion of other programs' teams.

use std::path::Path;

use agent_team_protocol::RoleName;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::external::selected;
use agent_team_protocol::value::Effort;

use super::super::agent::{self, DelegateKey, Reader};
use super::super::engine;
use super::super::instructions::{self, InstructionsKey};
use super::super::names::slug;
use super::super::open::read_text;
use super::super::reference::ROLE_FILE;
use super::super::source::{Fault, Source};
use super::super::table::{At, colours, suggest};
use super::super::unsupported;
use super::super::variables;
use super::definition::{Layer, Role, role_names};
use super::front_matter::{self, Field, RoleText, Value};
use super::import;

/// Loads a role file. `None` if the file determines no valid role name: for example, `README.md` without a name in its
/// front matter. A file that cannot be read becomes a role with a fault.
pub(super) fn load(path: &Path, layer: Layer, reader: Reader<'_>) -> Option<(RoleName, Role)> {
    let stem = path.file_stem()?.to_str()?;
    let shown = path.strip_prefix(reader.project).unwrap_or(path);
    let shown = shown.display().to_string();
    match read_text(path) {
        Ok(text) => parse(&shown, stem, &text, layer, reader),
        Err(error) => {
            let fault = Fault {
                file: shown.clone(),
                line: 1,
                column: 1,
                message: error.to_string(),
                hint: None,
            };
            let mut role = Role::new(layer, shown);
            role.faults.push(fault);
            Some((stem.parse().ok()?, role))
        }
    }
}

/// Parses the text of a role file. `shown` is the path for messages. `stem` is the role's name if the front matter sets
/// no valid name; in an imported file, an invalid name is converted to a valid name instead.
pub(super) fn parse(
    shown: &str,
    stem: &str,
    text: &str,
    layer: Layer,
    reader: Reader<'_>,
) -> Option<(RoleName, Role)> {
    let source = Source::new(shown, text);
    let mut role = Role::new(layer, shown);
    let text = match front_matter::read(text) {
        Ok(text) => text,
        Err(unreadable) => {
            source.fault(unreadable.at, unreadable.value);
            role.faults = source.into_faults();
            return Some((stem.parse().ok()?, role));
        }
    };
    let named = if layer.is_imported() {
        let named = import::read(&source, &text, &mut role);
        import_prompt(&text, &mut role, reader);
        role.warnings = source.take_faults();
        named
    } else {
        let named = read_fields(&source, &text, &mut role, reader);
        prompt(&source, &text, &mut role, reader);
        if role.engine.is_some_and(Engine::runs_lines) {
            role.agent_keys.refuse_for_command_engine(&source);
        }
        named
    };
    let name = name(&source, named, stem, layer);
    let faults = source.into_faults();
    if layer.is_imported() {
        role.warnings.extend(faults);
    } else {
        role.faults.extend(faults);
    }
    Some((name?, role))
}

fn name(
    source: &Source<'_>,
    named: Option<At<String>>,
    stem: &str,
    layer: Layer,
) -> Option<RoleName> {
    let Some(At { value, at }) = named else {
        return stem.parse().ok();
    };
    match value.parse() {
        Ok(name) => Some(name),
        Err(_) if layer.is_imported() => {
            let name: RoleName = slug(&value).as_str().parse().ok()?;
            source.fault(at, format!("role {value:?} is renamed to {name}"));
            Some(name)
        }
        Err(error) => {
            source.fault(at, format!("{error}"));
            stem.parse().ok()
        }
    }
}

/// Sets the prompt of an imported role, and replaces the known variables in its prompt and its description. Leaves
/// unknown variables unchanged: they may be text of the other program.
fn import_prompt(text: &RoleText<'_>, role: &mut Role, reader: Reader<'_>) {
    let body = text.body.value.trim();
    let filled = |text: &str| match reader.variables {
        Some(variables) => variables::fill_known(text, variables),
        None => text.to_owned(),
    };
    role.agent_keys.prompt = filled(body);
    role.description = filled(&role.description);
    role.agent_keys.note_key("prompt", text.body.at);
}

fn prompt(source: &Source<'_>, text: &RoleText<'_>, role: &mut Role, reader: Reader<'_>) {
    let body = text.body.value.trim();
    if body.is_empty() {
        return;
    }
    role.agent_keys.note_key("prompt", text.body.at);
    role.agent_keys.prompt = body.to_owned();
    let Some(variables) = reader.variables else {
        return;
    };
    match variables::fill(text.body.value, variables) {
        Ok(filled) => filled.trim().clone_into(&mut role.agent_keys.prompt),
        Err(unknown) => {
            for variable in unknown {
                agent::report_unknown(source, text.body.at + variable.at, variable.name);
            }
        }
    }
}

/// Reads the front matter of an agent-team role file into `role` and returns the name. Adds faults to the source.
fn read_fields(
    source: &Source<'_>,
    text: &RoleText<'_>,
    role: &mut Role,
    reader: Reader<'_>,
) -> Option<At<String>> {
    let mut name = None;
    for field in &text.fields {
        let At { value: key, at } = field.key;
        match (key, &field.value) {
            (key, _) if !ROLE_FILE.describes(key) => {
                let known: Vec<_> = ROLE_FILE.keys().map(|info| info.name).collect();
                source.fault_with_hint(at, format!("unknown key `{key}`"), suggest(key, &known));
            }
            ("name", Value::Text(value)) => {
                name = Some(At {
                    value: value.clone(),
                    at,
                });
            }
            ("description", Value::Text(value)) => {
                role.description = agent::prompt(source, At { value, at }, reader.variables);
            }
            ("engine", Value::Text(value)) => {
                role.agent_keys.external = selected(value);
                role.engine = word(source, field, value, &engine::engine_words())
            }
            ("colour" | "color", Value::Text(value)) => {
                role.colour = word(source, field, value, &colours());
            }
            ("model", Value::Text(value)) => {
                role.agent_keys.note_key("model", at);
                role.agent_keys.model =
                    agent::model(source, "model", At { value, at }, reader.project);
            }
            ("compact", Value::Text(value)) => {
                let agent_keys = &mut role.agent_keys;
                agent_keys.read_compact(source, At { value, at }, reader.project);
            }
            ("delegate", value) => {
                role.agent_keys.note_key("delegate", at);
                role.agent_keys.delegate = switch(source, field, value).map(DelegateKey::from);
            }
            ("effort", Value::Text(value)) => {
                role.agent_keys.note_key("effort", at);
                role.agent_keys.effort = word(source, field, value, &Effort::NAMES);
            }
            ("max_steps", Value::Text(value)) => {
                role.agent_keys.note_key("max_steps", at);
                role.agent_keys.max_steps = value.parse().ok().filter(|steps| *steps > 0);
                if role.agent_keys.max_steps.is_none() {
                    source.fault(
                        at,
                        format!("`max_steps` must be a whole number of at least 1, not {value:?}"),
                    );
                }
            }
            ("tools", value) => {
                role.agent_keys.note_key("tools", at);
                role.agent_keys.tools = Some(tools(source, "tools", value, at));
            }
            ("deny_tools", value) => {
                role.agent_keys.note_key("deny_tools", at);
                role.agent_keys.deny_tools = tools(source, "deny_tools", value, at);
            }
            ("plan", Value::Text(value)) => {
                role.agent_keys.note_key("plan", at);
                role.agent_keys.must_plan = word(source, field, value, agent::PLANS).is_some();
            }
            ("may_spawn", value) => {
                let names = items(source, key, value, at);
                let names: Vec<_> = names
                    .iter()
                    .map(|name| At {
                        value: name.value.as_str(),
                        at: name.at,
                    })
                    .collect();
                let value = role_names(source, &names);
                role.may_spawn = Some(At { value, at });
            }
            ("coordinate", value) => role.coordinate = switch(source, field, value) == Some(true),
            ("network", value) => {
                role.agent_keys.note_key("network", at);
                role.agent_keys.network = switch(source, field, value);
            }
            ("instructions", value) => {
                role.agent_keys.note_key("instructions", at);
                role.agent_keys.instructions = instructions(source, field, value, reader.project);
            }
            (key, _) => {
                source.fault(at, format!("`{key}` must be a string on one line"));
            }
        }
    }
    name
}

fn switch(source: &Source<'_>, field: &Field, value: &Value) -> Option<bool> {
    match value {
        Value::Text(text) if text == "true" => Some(true),
        Value::Text(text) if text == "false" => Some(false),
        Value::Text(_) | Value::List(_) | Value::Nested => {
            let At { value: key, at } = &field.key;
            source.fault(*at, format!("`{key}` must be true or false"));
            None
        }
    }
}

fn instructions(
    source: &Source<'_>,
    field: &Field<'_>,
    value: &Value,
    project: &Path,
) -> Option<InstructionsKey> {
    if let Value::List(items) = value {
        let names: Vec<_> = items.iter().map(borrowed).collect();
        return Some(instructions::of_list(source, &names, project));
    }
    switch(source, field, value).map(|is_on| match is_on {
        true => InstructionsKey::On,
        false => InstructionsKey::Off,
    })
}

fn borrowed(item: &At<String>) -> At<&str> {
    At {
        value: item.value.as_str(),
        at: item.at,
    }
}

fn tools(source: &Source<'_>, key: &str, value: &Value, at: usize) -> Vec<String> {
    let items = items(source, key, value, at);
    let names: Vec<_> = items
        .iter()
        .map(|item| At {
            value: item.value.as_str(),
            at: item.at,
        })
        .collect();
    agent::tools(source, key, &names)
}

/// The names in a list, or the comma-separated names in one line.
fn items(source: &Source<'_>, key: &str, value: &Value, at: usize) -> Vec<At<String>> {
    match value {
        Value::List(items) => items.clone(),
        Value::Text(text) => {
            let mut items = front_matter::split(At { value: text, at });
            items.iter_mut().for_each(|item| item.at = at);
            items
        }
        Value::Nested => {
            source.fault(at, format!("`{key}` must be a list of names"));
            Vec::new()
        }
    }
}

fn word<T: Copy>(
    source: &Source<'_>,
    field: &Field<'_>,
    value: &str,
    words: &[(&'static str, T)],
) -> Option<T> {
    let found = words.iter().find(|(word, _)| *word == value);
    if found.is_none() {
        let At { value: key, at } = field.key;
        if unsupported::is_value(key, value) {
            source.fault(at, unsupported::message(&format!("{key}: {value}")));
        } else {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("{value:?} is not a valid value of `{key}`");
            source.fault_with_hint(at, message, suggest(value, &known));
        }
    }
    found.map(|(_, value)| *value)
}
