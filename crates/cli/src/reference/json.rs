//! Generates `docs/reference/json.md`: the documents that `--json` prints. The shapes come from the types of the
//! command line in this crate and from the generated schema of the protocol. The list of the verbs is in
//! `documents.rs`.

mod documents;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use agent_team_protocol::envelope::CUSTOM;
use schemars::generate::SchemaSettings;

use serde_json::Value;

use self::documents::DOCUMENTS;
pub(crate) use self::documents::{RoleDefinition, Setting};
pub(crate) use self::wire::Wire;
use super::cell::cell;

const PROTOCOL: &str = include_str!("../../../protocol/schema/protocol.json");

pub(super) fn page() -> String {
    let types = types();
    let mut used = BTreeSet::new();
    let mut page = linked(INTRODUCTION, &mut used);
    page.push_str("\n## The document of each verb\n\n| verb | document |\n|---|---|\n");
    for (verb, document) in DOCUMENTS {
        let document = linked(document, &mut used);
        page.push_str(&format!("| `{verb}` | {} |\n", cell(&document)));
    }
    page.push_str("\n## `CUSTOM` events\n\nEvents of `events` and `run --events` that AG-UI does not define.\n\n");
    page.push_str("| name | value | meaning |\n|---|---|---|\n");
    for event in CUSTOM {
        let (name, value, meaning) = (event.name, cell(event.value), cell(event.meaning));
        page.push_str(&format!("| `{name}` | `{value}` | {meaning} |\n"));
    }
    page.push_str("\n## Types\n");
    let mut done = BTreeSet::new();
    loop {
        let next = used.difference(&done).next().cloned();
        let Some(name) = next else { break };
        // This call only collects the types that this type uses. The text is made below, in the order of the names.
        shape(definition(&types, &name), &mut used);
        done.insert(name);
    }
    for name in done {
        let text = shape(definition(&types, &name), &mut BTreeSet::new());
        page.push_str(&format!("\n### {name}\n\n{text}"));
    }
    page
}

const INTRODUCTION: &str = "\
# The documents of `--json`

With `--json` each verb prints exactly one document, except the verbs that print one document per line. Documents may
get further fields; no field is renamed or removed. A field that is marked optional can be absent. Times are Unix times
in milliseconds, durations end with `_ms`.

An error is one line on stderr, an [ErrorDocument]. The exit code is the same as without `--json`.
";

/// The definitions of all types, by name.
fn types() -> BTreeMap<String, Value> {
    let protocol: Value = serde_json::from_str(PROTOCOL).expect("the schema is JSON");
    let mut types = BTreeMap::new();
    let of_protocol = protocol["$defs"].as_object().into_iter().flatten();
    types.extend(of_protocol.map(|(name, definition)| (name.clone(), definition.clone())));
    // Documents are only written: a field that can be left out is optional, and all other fields are always present.
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut generator = settings.into_generator();
    documents::register(&mut generator);
    for (name, definition) in generator.take_definitions(true) {
        let known = types.insert(name.clone(), definition);
        assert!(
            known.is_none(),
            "two types are called {name}: rename one with schemars(rename)"
        );
    }
    types
}

fn definition<'a>(types: &'a BTreeMap<String, Value>, name: &str) -> &'a Value {
    types
        .get(name)
        .unwrap_or_else(|| panic!("there is no type {name}"))
}

/// The text with a link for each `[Name]`. Adds the names to `used`.
fn linked(text: &str, used: &mut BTreeSet<String>) -> String {
    let mut linked = String::new();
    let mut rest = text;
    while let Some((before, (name, after))) = rest
        .split_once('[')
        .and_then(|(before, rest)| Some((before, rest.split_once(']')?)))
    {
        linked.push_str(before);
        linked.push_str(&link(name, used));
        rest = after;
    }
    linked + rest
}

fn link(name: &str, used: &mut BTreeSet<String>) -> String {
    used.insert(name.to_owned());
    format!("[{name}](#{})", name.to_lowercase())
}

/// The description of a type and its fields or variants. Adds the types that it names to `used`.
fn shape(schema: &Value, used: &mut BTreeSet<String>) -> String {
    let mut text = String::new();
    let description = description(schema);
    if !description.is_empty() {
        text.push_str(&format!("{description}\n\n"));
    }
    let variants = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
    let fields = rows(schema, used);
    if !fields.is_empty() {
        text.push_str(&format!(
            "| field | type | meaning |\n|---|---|---|\n{fields}"
        ));
    }
    for variant in variants.into_iter().flatten() {
        let meaning = self::description(variant);
        let colon = if meaning.is_empty() { "" } else { ": " };
        text.push_str(&format!("- {}{colon}{meaning}\n", type_of(variant, used)));
    }
    if fields.is_empty() && variants.is_none() {
        text.push_str(&format!("{}\n", type_of(schema, used)));
    }
    text
}

fn rows(schema: &Value, used: &mut BTreeSet<String>) -> String {
    let row = |field: Field<'_>| {
        let optional = if field.required { "" } else { ", optional" };
        format!(
            "| `{}` | {}{optional} | {} |\n",
            field.name,
            cell(&type_of(field.schema, used)),
            cell(&description(field.schema))
        )
    };
    fields(schema).into_iter().map(row).collect()
}

struct Field<'a> {
    name: &'a str,
    schema: &'a Value,
    required: bool,
}

fn fields(schema: &Value) -> Vec<Field<'_>> {
    let required = schema["required"].as_array().into_iter().flatten();
    let required: Vec<_> = required.filter_map(Value::as_str).collect();
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields
        .map(|(name, schema)| Field {
            name,
            schema,
            required: required.contains(&name.as_str()),
        })
        .collect()
}

/// The doc comment, without links of rustdoc, and with JSON's word for an absent value.
fn description(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.replace("`None`", "`null`")
        .replace("[`", "`")
        .replace("`]", "`")
        .replace('\n', " ")
}

/// The type in a few words.
fn type_of(schema: &Value, used: &mut BTreeSet<String>) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|to| to.rsplit('/').next()) {
        return link(name, used);
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    if let Some(all) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        let all: Vec<_> = all.iter().map(|one| type_of(one, used)).collect();
        return all.join(" or ");
    }
    match &schema["type"] {
        Value::Array(all) => {
            let one = |kind: &Value| {
                let mut schema = schema.clone();
                schema["type"] = kind.clone();
                type_of(&schema, used)
            };
            let all: Vec<_> = all.iter().map(one).collect();
            all.join(" or ")
        }
        Value::String(kind) => match kind.as_str() {
            "array" => format!("list of {}", type_of(&schema["items"], used)),
            "object" if schema["properties"].is_object() => fields_in_words(schema, used),
            "object" if schema["additionalProperties"].is_object() => {
                format!(
                    "object of {}",
                    type_of(&schema["additionalProperties"], used)
                )
            }
            "object" if schema["patternProperties"].is_object() => {
                let all = schema["patternProperties"].as_object();
                let mut values = all.into_iter().flatten().map(|(_, value)| value);
                let value = values.next().unwrap_or(&Value::Null);
                format!("object of {}", type_of(value, used))
            }
            kind => kind.to_owned(),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            "any value".to_owned()
        }
    }
}

/// The fields of a variant, within a line.
fn fields_in_words(schema: &Value, used: &mut BTreeSet<String>) -> String {
    let field = |field: Field<'_>| {
        let optional = if field.required { "" } else { "optional " };
        format!(
            "{optional}`{}`: {}",
            field.name,
            type_of(field.schema, used)
        )
    };
    let mut fields = fields(schema);
    // The field that distinguishes the variants comes first.
    fields.sort_by_key(|field| field.schema.get("const").is_none());
    let fields: Vec<_> = fields.into_iter().map(field).collect();
    format!("object with {}", fields.join(", "))
}
