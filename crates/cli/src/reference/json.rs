//! The page of the documents that `--json` prints. The shapes come from the types: those of the command line from this
//! crate, those of the protocol from its generated schema.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};
use serde_json::Value;

use super::cell::cell;
use crate::error::ErrorDocument;
use crate::verb::audit::entry::Entry;
use crate::verb::doctor::Report;
use crate::verb::messages::Messages;
use crate::verb::ps::TeamStatus;
use crate::verb::requests::Requests;
use crate::verb::task::Board;

const PROTOCOL: &str = include_str!("../../../protocol/schema/protocol.json");

/// A type of the protocol, which derives its schema only in the tests of its own crate.
pub(crate) struct Wire<T>(PhantomData<T>);

impl<T> JsonSchema for Wire<T> {
    fn schema_name() -> Cow<'static, str> {
        let name = std::any::type_name::<T>();
        name.rsplit("::").next().unwrap_or(name).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "$ref": format!("#/$defs/{}", Self::schema_name()) })
    }
}

/// Verbs whose document is the answer of a method of the protocol.
const ANSWERS: [(&str, &str); 10] = [
    ("up", "team/up"),
    ("down", "team/down"),
    ("task show", "task/show"),
    ("requests show", "request/show"),
    ("send", "message/send"),
    ("cancel", "run/cancel"),
    ("panes reopen", "pane/reopen"),
    ("team list", "team/list"),
    ("team show", "team/show"),
    ("supervisor status", "supervisor/status"),
];

pub(super) fn page() -> String {
    let protocol: Value = serde_json::from_str(PROTOCOL).expect("the schema is JSON");
    let mut types: BTreeMap<String, Value> = BTreeMap::new();
    let mut add = |definitions: Option<&Value>| {
        let definitions = definitions.and_then(Value::as_object);
        for (name, definition) in definitions.into_iter().flatten() {
            types.insert(name.clone(), definition.clone());
        }
    };
    add(protocol.get("$defs"));
    let mut documents: Vec<(String, Value)> = [
        ("ps", schema_for!(TeamStatus<'_>)),
        ("task list", schema_for!(Board)),
        ("requests", schema_for!(Requests)),
        ("messages", schema_for!(Messages)),
        ("audit", schema_for!(Entry)),
        ("doctor", schema_for!(Report)),
        ("An error", schema_for!(ErrorDocument<'_>)),
    ]
    .map(|(verb, schema)| {
        let schema = schema.to_value();
        add(schema.get("$defs"));
        (verb.to_owned(), schema)
    })
    .into();
    documents.extend(ANSWERS.map(|(verb, method)| {
        (
            verb.to_owned(),
            protocol["methods"][method]["result"].clone(),
        )
    }));
    documents.push(("run".to_owned(), protocol["documents"]["run"].clone()));
    documents.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut page = String::from(INTRODUCTION);
    let mut used = BTreeSet::new();
    for (verb, schema) in &documents {
        let heading = match verb.as_str() {
            "An error" => verb.clone(),
            verb => format!("`agent-team {verb} --json`"),
        };
        let schema = resolved(schema, &types);
        page.push_str(&format!("\n## {heading}\n\n{}", shape(schema, &mut used)));
    }
    page.push_str("\n## Types\n");
    let mut done = BTreeSet::new();
    loop {
        let next = used.difference(&done).next().cloned();
        let Some(name) = next else { break };
        if let Some(definition) = types.get(&name) {
            // Collects the types that this type uses; the text is made below, in the order of the names.
            shape(definition, &mut used);
        }
        done.insert(name);
    }
    for name in done {
        let definition = types.get(&name).unwrap_or(&Value::Null);
        let text = shape(definition, &mut BTreeSet::new());
        page.push_str(&format!("\n### {name}\n\n{text}"));
    }
    page
}

const INTRODUCTION: &str = "\
# The documents of `--json`

With `--json` each verb prints exactly one document. `audit`, `events`, `logs -f` and `requests watch` print one document
per line. Documents may get further fields; no field is renamed or removed. A field that is marked optional can be
absent. Times are Unix times in milliseconds, durations end with `_ms`.

An error is one line on stderr, and the exit code is the same as without `--json`. `events --json` and `run --events`
print [AG-UI](https://docs.ag-ui.com) events; `agent-team events --help` lists those that AG-UI does not define.
";

/// The definition that a schema refers to, or the schema itself.
fn resolved<'a>(schema: &'a Value, types: &'a BTreeMap<String, Value>) -> &'a Value {
    let name = schema["$ref"].as_str().and_then(|to| to.rsplit('/').next());
    name.and_then(|name| types.get(name)).unwrap_or(schema)
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
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let fields = schema["properties"].as_object();
    let fields = fields.into_iter().flatten();
    fields
        .map(|(name, field)| {
            let optional = match required.contains(&name.as_str()) {
                true => "",
                false => ", optional",
            };
            format!(
                "| `{name}` | {}{optional} | {} |\n",
                cell(&type_of(field, used)),
                cell(&description(field))
            )
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
        used.insert(name.to_owned());
        return format!("[{name}](#{})", name.to_lowercase());
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
    let fields = schema["properties"].as_object();
    let fields: Vec<_> = fields
        .into_iter()
        .flatten()
        .map(|(name, field)| format!("`{name}`: {}", type_of(field, used)))
        .collect();
    format!("object with {}", fields.join(", "))
}
