//! The schema and the parser of a tool's arguments. Called by the adapter of all tools.
//!
//! Both are derived from one type per tool: its fields and their comments become the schema, and the arguments of a
//! call are parsed into it. A foreign schema is used unchanged. The error for wrong arguments contains the field, the
//! reason and the tool's full signature, so that the model can correct the call at once.

use std::sync::LazyLock;

use agent_team_llm::ToolSpec;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::tool::ToolError;

/// Builds a tool's spec; the schema is derived from the type of its arguments.
pub(super) fn spec<T: JsonSchema>(name: &str, description: &str) -> ToolSpec {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    RecursiveTransform(simplify).transform(&mut schema);
    ToolSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        input: schema.to_value(),
    }
}

/// Reduces the schema to the keywords that every provider supports: without Rust's type names, number formats and
/// defaults, and without `null` for optional fields.
fn simplify(schema: &mut schemars::Schema) {
    for key in ["title", "format", "default"] {
        schema.remove(key);
    }
    let Some(Value::Array(types)) = schema.get_mut("type") else {
        return;
    };
    types.retain(|kind| kind != "null");
    if let [kind] = types.as_slice() {
        let kind = kind.clone();
        schema.insert("type".to_owned(), kind);
    }
}

pub(super) fn parse<T: DeserializeOwned>(spec: &ToolSpec, input: &Value) -> Result<T, ToolError> {
    static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
    // Some models send `null` to a tool without arguments.
    let input = if input.is_null() { &*EMPTY } else { input };
    serde_path_to_error::deserialize(input).map_err(|error| {
        let field = error.path().to_string();
        let field = match field.as_str() {
            "." | "?" => String::new(),
            field => format!("`{field}`: "),
        };
        ToolError::Input(format!("{field}{}. {}", error.inner(), signature(spec)))
    })
}

/// Formats a tool's signature, such as `read takes {path: string, limit?: integer}`.
fn signature(spec: &ToolSpec) -> String {
    let required: Vec<&str> = spec.input["required"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let fields: Vec<String> = spec.input["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, schema)| {
            let mark = if required.contains(&name.as_str()) {
                ""
            } else {
                "?"
            };
            format!("{name}{mark}: {}", kind(schema))
        })
        .collect();
    format!("{} takes {{{}}}", spec.name, fields.join(", "))
}

fn kind(schema: &Value) -> String {
    let names = |values: &Vec<Value>| {
        let names: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        names.join(" | ")
    };
    if let Some(values) = schema["enum"].as_array() {
        return names(values);
    }
    match schema["type"].as_str() {
        Some("array") => format!("[{}]", kind(&schema["items"])),
        Some("object") => {
            let fields: Vec<String> = schema["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, schema)| format!("{name}: {}", kind(schema)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        Some(kind) => kind.to_owned(),
        None => "any".to_owned(),
    }
}
