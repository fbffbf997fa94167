//! Generates the OpenAPI document and the page `docs/reference/http.md` from the table of resources and the schema of
//! the protocol, which is generated from the types. `cargo xtask reference` writes both; the tests fail if a file is
//! stale. This module is compiled only for tests.
//!
//! OpenAPI 3.1 uses JSON Schema 2020-12, as the schema of the protocol does, so the schemas are copied. No type needs
//! annotations for OpenAPI, and both documents describe the same types.

use std::collections::BTreeSet;
use std::path::Path;

use agent_team_protocol::method::{Method, SupervisorStatus, TeamList};
use serde_json::{Map, Value, json};

use crate::access::Permission;
use crate::resources::{BASE, Body, Document, RESOURCES, Resource, Verb};

/// Set by `cargo xtask reference` to write the files instead of comparing them.
const WRITE: &str = "AGENT_TEAM_WRITE_REFERENCE";

const PROTOCOL: &str = include_str!("../../protocol/schema/protocol.json");

const DEFINITIONS: &str = "#/$defs/";
const SCHEMAS: &str = "#/components/schemas/";

fn protocol() -> Value {
    serde_json::from_str(PROTOCOL).expect("the schema is JSON")
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

impl Resource {
    /// The names of the arguments in the path.
    fn path_arguments(&self) -> impl Iterator<Item = &'static str> {
        let parts = self.path.split('/');
        parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// One row with its schemas.
struct Operation {
    resource: &'static Resource,
    properties: Map<String, Value>,
    required: BTreeSet<String>,
    answer: Value,
}

impl Operation {
    fn of(protocol: &Value, resource: &'static Resource) -> Self {
        let method = &protocol["methods"][resource.call.name];
        let mut args = &method["params"]["properties"]["args"];
        if let Some(name) = args["$ref"].as_str() {
            args = &protocol["$defs"][name.trim_start_matches(DEFINITIONS)];
        }
        let required = args["required"].as_array().into_iter().flatten();
        let required = required.filter_map(Value::as_str).map(str::to_owned);
        let mut required: BTreeSet<_> = required.collect();
        for (name, _) in resource.defaults {
            required.remove(*name);
        }
        let document = |name: &str| protocol["documents"][name].clone();
        let answer = match resource.document {
            Document::Answer => method["result"].clone(),
            Document::Team => document("team"),
            Document::Stats => document("stats"),
            Document::Modes => document("modes"),
            Document::Board => document("board"),
            Document::Request => json!({"$ref": "#/$defs/RequestView"}),
        };
        Self {
            resource,
            properties: args["properties"].as_object().cloned().unwrap_or_default(),
            required,
            answer,
        }
    }

    /// The arguments that the body contains.
    fn body(&self) -> Option<Value> {
        match self.resource.body {
            Body::None => None,
            Body::Argument(name) => Some(self.properties[name].clone()),
            Body::Task => {
                let mut spec = protocol()["$defs"]["TaskSpec"].clone();
                spec["required"] = json!(["title"]);
                Some(spec)
            }
            Body::Arguments => {
                let mut properties = self.properties.clone();
                let mut required = self.required.clone();
                for name in self.resource.path_arguments() {
                    properties.remove(name);
                    required.remove(name);
                }
                if properties.is_empty() {
                    return None;
                }
                Some(json!({"type": "object", "properties": properties, "required": required}))
            }
        }
    }

    fn needs_body(&self) -> bool {
        let required = |body: &Value| body["required"].as_array().map(|names| !names.is_empty());
        match self.resource.body {
            Body::Argument(_) | Body::Task => true,
            Body::None | Body::Arguments => {
                self.body().as_ref().and_then(required).unwrap_or(false)
            }
        }
    }

    fn parameters(&self) -> Vec<Value> {
        // The schema `true` accepts any value.
        let property = |name: &str| match self.properties[name].as_object() {
            Some(schema) => schema.clone(),
            None => Map::new(),
        };
        let mut parameters: Vec<_> = self
            .resource
            .path_arguments()
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": property(name)}))
            .collect();
        parameters.extend(self.resource.query.iter().map(|param| {
            let required = self.required.contains(param.name);
            json!({"name": param.name, "in": "query", "required": required, "schema": property(param.name)})
        }));
        if ![TeamList::NAME, SupervisorStatus::NAME].contains(&self.resource.call.name) {
            parameters.push(team());
        }
        if self.resource.verb != Verb::Get {
            let text = "Repeating a request with the same key returns its first answer and changes nothing.";
            parameters.push(json!({
                "name": "Idempotency-Key", "in": "header", "description": text,
                "schema": {"type": "string", "minLength": 1, "maxLength": agent_team_protocol::rpc::KEY_MAX},
            }));
        }
        parameters
    }

    fn document(&self) -> Value {
        let mut operation = json!({
            "summary": self.resource.summary,
            "x-permission": self.resource.permission.word(),
            "parameters": self.parameters(),
            "responses": responses(&json!({"application/json": {"schema": self.answer}})),
        });
        if let Some(schema) = self.body() {
            let content = json!({"application/json": {"schema": schema}});
            operation["requestBody"] = json!({"required": self.needs_body(), "content": content});
        }
        operation
    }
}

fn team() -> Value {
    let text = "Name or id of a team; without it, the team of the service.";
    json!({"name": "team", "in": "query", "description": text, "schema": {"type": "string"}})
}

fn responses(content: &Value) -> Value {
    let problem =
        json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
    json!({
        "200": {"description": "Done and stored.", "content": content},
        "default": {"description": "The request failed, and nothing changed.", "content": problem},
    })
}

fn events() -> Value {
    let revision = json!({"type": "integer", "minimum": 0});
    let text = "Server-sent events: `data` is an Envelope, `id` the revision after which a client resumes.";
    json!({"get": {
        "summary": "The events of the team, as `events --json -f`",
        "x-permission": Permission::View.word(),
        "parameters": [
            team(),
            {"name": "after", "in": "query", "schema": revision, "description": "Only events after this revision."},
            {"name": "Last-Event-ID", "in": "header", "schema": revision, "description": "The same; overrides `after`."},
        ],
        "responses": responses(&json!({"text/event-stream": {
            "schema": {"type": "string", "description": text},
            "x-event-data": {"$ref": "#/$defs/Envelope"},
        }})),
    }})
}

fn problem() -> Value {
    json!({
        "description": "RFC 9457. `code` is the error code of the command line.",
        "type": "object",
        "properties": {
            "type": {"const": "about:blank"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string"},
            "hint": {"type": "string"},
        },
        "required": ["type", "title", "status", "detail", "code"],
    })
}

/// Renames the references to definitions, and collects the names.
fn rename(value: &mut Value, names: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix(DEFINITIONS) {
                names.insert(name.to_owned());
                *text = format!("{SCHEMAS}{name}");
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|value| rename(value, names)),
        Value::Object(all) => all.values_mut().for_each(|value| rename(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn openapi() -> Value {
    let protocol = protocol();
    let mut paths = Map::new();
    paths.insert(format!("{BASE}/events"), events());
    for resource in RESOURCES {
        let operation = Operation::of(&protocol, resource).document();
        let path = paths.entry(format!("{BASE}{}", resource.path));
        path.or_insert_with(|| json!({}))[resource.verb.word()] = operation;
    }
    let mut paths = Value::Object(paths);
    let mut names = BTreeSet::new();
    rename(&mut paths, &mut names);
    let mut schemas = Map::new();
    while let Some(name) = names.pop_first() {
        if schemas.contains_key(&name) {
            continue;
        }
        let mut schema = protocol["$defs"][&name].clone();
        assert!(!schema.is_null(), "the protocol has no type {name}");
        rename(&mut schema, &mut names);
        schemas.insert(name, schema);
    }
    let clash = schemas.insert("Problem".to_owned(), problem());
    assert!(clash.is_none(), "the protocol has a type Problem");
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "agent-team",
            "version": "1",
            "description": "The HTTP service of a team. See docs/guide/service.md.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

const INTRODUCTION: &str = "\
<!-- Generated by `cargo xtask reference`; do not edit. -->

# The routes of `agent-team serve`

All paths begin with `/api/v1`. Answers are the documents of `--json`, see [json.md](json.md); errors are problem
documents. `GET /api/v1/openapi.json` contains the schema of each body and answer. See
[The HTTP service](../guide/service.md) for tokens, keys and events.

`?team=NAME` names another team than the one of the service. A body marked with `?` may be omitted.

| route | needs | query, body | answer | |
|---|---|---|---|---|
| `GET /events` | view | `after` | server-sent events | The events of the team, as `events --json -f` |
| `GET /openapi.json` | view | | | The OpenAPI 3.1 document |
";

fn page() -> String {
    let protocol = protocol();
    let mut page = INTRODUCTION.to_owned();
    for resource in RESOURCES {
        let operation = Operation::of(&protocol, resource);
        let mut takes: Vec<_> = resource
            .query
            .iter()
            .map(|param| format!("`{}`", param.name))
            .collect();
        if let Some(body) = operation.body() {
            let optional = if operation.needs_body() { "" } else { "?" };
            let names = body["properties"].as_object();
            let names = names.map(|names| names.keys().cloned().collect::<Vec<_>>().join(", "));
            let type_name = || {
                body["$ref"]
                    .as_str()
                    .map(|name| name.trim_start_matches(DEFINITIONS).to_owned())
            };
            let body = match names {
                Some(names) => format!("{{{names}}}"),
                None => type_name().unwrap_or_else(|| "any JSON".to_owned()),
            };
            takes.push(format!("`{body}`{optional}"));
        }
        let takes = match takes.join(", ") {
            takes if takes.is_empty() => takes,
            takes => format!(" {takes}"),
        };
        let answer = operation.answer["$ref"].as_str().unwrap_or_default();
        page.push_str(&format!(
            "| `{} {}` | {} |{} | `{}` | {} |\n",
            resource.verb.word().to_uppercase(),
            resource.path,
            resource.permission.word(),
            takes,
            answer.trim_start_matches(DEFINITIONS),
            resource.summary,
        ));
    }
    page
}

fn compare(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, text).expect("the file can be written");
        return;
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == text, "{file} is stale: run cargo xtask reference");
}

#[test]
fn the_openapi_document_is_up_to_date() {
    let text = serde_json::to_string_pretty(&openapi()).expect("the document is JSON");
    compare("schema/openapi.json", &format!("{text}\n"));
}

#[test]
fn the_page_of_the_routes_is_up_to_date() {
    compare("../../docs/reference/http.md", &page());
}

#[test]
fn rows_name_arguments_of_their_methods() {
    let protocol = protocol();
    for resource in RESOURCES {
        let Operation {
            properties,
            required,
            ..
        } = Operation::of(&protocol, resource);
        let query = resource.query.iter().map(|param| param.name);
        let defaults = resource.defaults.iter().map(|(name, _)| *name);
        let mut given: BTreeSet<_> = resource
            .path_arguments()
            .chain(query)
            .chain(defaults)
            .collect();
        match resource.body {
            Body::Argument(name) => _ = given.insert(name),
            Body::Task => _ = given.insert("spec"),
            Body::None | Body::Arguments => {}
        }
        let path = resource.path;
        for name in &given {
            assert!(properties.contains_key(*name), "{path}: {name}");
        }
        let rest = required
            .iter()
            .filter(|name| !given.contains(name.as_str()));
        assert!(
            resource.body == Body::Arguments || rest.count() == 0,
            "{path}: {required:?}"
        );
        for (name, value) in resource.defaults {
            assert!(
                serde_json::from_str::<Value>(value).is_ok(),
                "{path}: {name}"
            );
        }
    }
}

#[test]
fn rows_that_change_something_need_more_than_view() {
    for resource in RESOURCES {
        let reads = resource.verb == Verb::Get;
        assert_eq!(
            reads,
            resource.permission == Permission::View,
            "{}",
            resource.path
        );
        let is_read = ["show", "list", "read", "get", "status", "rounds", "screen"];
        let verb = resource.call.name.split('/').nth(1).unwrap_or_default();
        assert!(!reads || is_read.contains(&verb), "{}", resource.path);
    }
}
