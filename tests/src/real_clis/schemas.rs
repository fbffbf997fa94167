//! Writes the pinned schemas from the descriptions that the programs of the agents generate.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};

use crate::pinned_schema::Kind;

/// The requests of agent-team and of the terminal interface to the app-server of Codex, and the types of the answers.
const CODEX_REQUESTS: &[(&str, &str)] = &[
    ("initialize", "InitializeResponse"),
    ("account/read", "GetAccountResponse"),
    ("config/read", "ConfigReadResponse"),
    ("thread/start", "ThreadStartResponse"),
    ("thread/resume", "ThreadResumeResponse"),
    ("thread/read", "ThreadReadResponse"),
    ("thread/inject_items", "ThreadInjectItemsResponse"),
    ("thread/settings/update", "ThreadSettingsUpdateResponse"),
    (
        "thread/backgroundTerminals/clean",
        "ThreadBackgroundTerminalsCleanResponse",
    ),
    ("turn/start", "TurnStartResponse"),
    ("turn/steer", "TurnSteerResponse"),
    ("turn/interrupt", "TurnInterruptResponse"),
];

/// The notifications of the app-server that agent-team reads.
const CODEX_NOTIFICATIONS: &[&str] = &[
    "thread/started",
    "thread/status/changed",
    "thread/settings/updated",
    "thread/tokenUsage/updated",
    "turn/started",
    "turn/completed",
    "item/started",
    "item/completed",
    "item/agentMessage/delta",
    "serverRequest/resolved",
];

/// The questions of the app-server, and the types of the decisions.
const CODEX_QUESTIONS: &[(&str, &str)] = &[
    (
        "item/commandExecution/requestApproval",
        "CommandExecutionRequestApprovalResponse",
    ),
    (
        "item/fileChange/requestApproval",
        "FileChangeRequestApprovalResponse",
    ),
    (
        "mcpServer/elicitation/request",
        "McpServerElicitationRequestResponse",
    ),
];

/// The routes of OpenCode's server that agent-team and the terminal interface use.
const OPENCODE_ROUTES: &[(&str, &str)] = &[
    ("POST", "/session"),
    ("PATCH", "/session/{sessionID}"),
    ("GET", "/session/{sessionID}/message"),
    ("POST", "/session/{sessionID}/prompt_async"),
    ("POST", "/session/{sessionID}/abort"),
    ("GET", "/session/status"),
    ("GET", "/mcp"),
    ("GET", "/config/providers"),
    ("POST", "/permission/{requestID}/reply"),
];

/// The events of OpenCode's server that agent-team reads. OpenCode does not describe `server.heartbeat`.
const OPENCODE_EVENTS: &[&str] = &[
    "session.created",
    "session.updated",
    "session.status",
    "session.idle",
    "session.error",
    "message.updated",
    "message.part.updated",
    "message.part.delta",
    "permission.asked",
    "permission.replied",
    "question.asked",
    "todo.updated",
];

/// Writes the schema of OpenCode's server. `program` is the tested version.
///
/// # Errors
/// If the program does not describe a route or an event, or if the file cannot be written.
pub fn write_opencode(program: &Path, version: &str, file: &Path) -> Result<()> {
    let home = tempfile::tempdir()?;
    let output = Command::new(program)
        .arg("generate")
        .env("HOME", home.path())
        .current_dir(home.path())
        .output()
        .context("cannot run opencode")?;
    ensure!(output.status.success(), "opencode generates no schema");
    let described: Value = serde_json::from_slice(&output.stdout)?;
    let schemas = &described["components"]["schemas"];
    let mut reduction = Reduction::default();
    for (name, schema) in schemas.as_object().into_iter().flatten() {
        reduction.define(name, schema);
    }
    for (method, path) in OPENCODE_ROUTES {
        let route = &described["paths"][path][method.to_lowercase()];
        ensure!(route.is_object(), "opencode has no {method} {path}");
        let name = format!("{method} {path}");
        let content_of = |message: &Value| {
            let schema = message.pointer("/content/application~1json/schema");
            schema.cloned()
        };
        let no_body = || json!({ "type": ["null", "object"], "maxProperties": 0 });
        let body = content_of(&route["requestBody"]).unwrap_or_else(no_body);
        reduction.keep(Kind::Request, &name, &body)?;
        let answer = content_of(&route["responses"]["200"]);
        let answer = answer.unwrap_or_else(|| json!({ "type": "null" }));
        reduction.keep(Kind::Answer, &name, &answer)?;
    }
    let events = schemas["Event"]["anyOf"].as_array();
    let events = events.context("cannot read the events")?;
    let events = events.iter().filter_map(|event| event["$ref"].as_str());
    let events = events.filter_map(|name| schemas.get(name.rsplit('/').next()?));
    for kind in OPENCODE_EVENTS {
        let is_kind = |event: &&Value| event["properties"]["type"]["enum"] == json!([kind]);
        let event = events.clone().find(is_kind);
        let event = event.with_context(|| format!("opencode has no event {kind}"))?;
        reduction.keep(Kind::Notification, kind, &event["properties"]["properties"])?;
    }
    fs::write(file, reduction.text(version))?;
    Ok(())
}

/// Writes the schema of Codex. `program` is the tested version.
///
/// # Errors
/// If the program does not describe one of the messages, or if the file cannot be written.
pub fn write_codex(program: &Path, version: &str, file: &Path) -> Result<()> {
    let generated = tempfile::tempdir()?;
    let output = Command::new(program)
        .args([
            "app-server",
            "generate-json-schema",
            "--experimental",
            "--out",
        ])
        .arg(generated.path())
        .env("HOME", generated.path())
        .output()
        .context("cannot run codex")?;
    ensure!(output.status.success(), "codex generates no schema");
    let mut reduction = Reduction::default();
    let all = reduction.read(
        &generated
            .path()
            .join("codex_app_server_protocol.v2.schemas.json"),
    )?;
    let asks = reduction.read(&generated.path().join("ServerRequest.json"))?;
    let answers = CODEX_REQUESTS.iter().map(|(_, name)| name);
    let decisions = CODEX_QUESTIONS.iter().map(|(_, name)| name);
    for name in answers.chain(decisions) {
        for directory in ["", "v1", "v2"] {
            let path = generated
                .path()
                .join(directory)
                .join(format!("{name}.json"));
            if path.exists() {
                let schema = reduction.read(&path)?;
                reduction.define(name, &schema);
            }
        }
    }
    let requests = &all["definitions"]["ClientRequest"];
    let notifications = &all["definitions"]["ServerNotification"];
    for (method, answer) in CODEX_REQUESTS {
        reduction.keep(Kind::Request, method, &params_of(requests, method)?)?;
        reduction.keep(Kind::Answer, method, &reference(answer))?;
    }
    for method in CODEX_NOTIFICATIONS {
        reduction.keep(
            Kind::Notification,
            method,
            &params_of(notifications, method)?,
        )?;
    }
    for (method, decision) in CODEX_QUESTIONS {
        reduction.keep(Kind::Question, method, &params_of(&asks, method)?)?;
        reduction.keep(Kind::Decision, method, &reference(decision))?;
    }
    fs::write(file, reduction.text(version))?;
    Ok(())
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{name}") })
}

/// The schema of the parameters of a method.
fn params_of(messages: &Value, method: &str) -> Result<Value> {
    let forms = messages["oneOf"]
        .as_array()
        .context("cannot read the messages")?;
    let of_method = |form: &&Value| form["properties"]["method"]["enum"][0] == method;
    let form = forms.iter().find(of_method);
    let form = form.with_context(|| format!("codex has no {method}"))?;
    Ok(form["properties"]["params"].clone())
}

/// A reduced schema.
#[derive(Default)]
struct Reduction {
    /// All definitions that were read.
    known: Map<String, Value>,
    /// The definitions that the messages need.
    needed: Map<String, Value>,
    messages: Map<String, Value>,
}

impl Reduction {
    /// Reads a generated file with its definitions.
    fn read(&mut self, path: &Path) -> Result<Value> {
        let schema: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
        for (name, definition) in schema["definitions"].as_object().into_iter().flatten() {
            self.define(name, definition);
        }
        Ok(schema)
    }

    fn define(&mut self, name: &str, schema: &Value) {
        self.known.entry(name).or_insert_with(|| {
            let mut schema = schema.clone();
            if let Some(schema) = schema.as_object_mut() {
                schema.remove("definitions");
            }
            schema
        });
    }

    fn keep(&mut self, kind: Kind, method: &str, schema: &Value) -> Result<()> {
        let schema = reduced(schema, false);
        self.need(&schema)?;
        let of_kind = self.messages.entry(kind.key()).or_insert(json!({}));
        of_kind[method] = schema;
        Ok(())
    }

    /// Keeps the definitions to which the schema refers.
    fn need(&mut self, schema: &Value) -> Result<()> {
        match schema {
            Value::Object(fields) => {
                if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
                    let name = name.rsplit('/').next().unwrap_or_default();
                    if !self.needed.contains_key(name) {
                        let definition = self.known.get(name);
                        let definition =
                            definition.with_context(|| format!("{name} is undefined"))?;
                        let definition = reduced(definition, false);
                        self.needed.insert(name.to_owned(), definition.clone());
                        self.need(&definition)?;
                    }
                }
                fields.values().try_for_each(|field| self.need(field))
            }
            Value::Array(items) => items.iter().try_for_each(|item| self.need(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    /// The file: one definition per line, so that a change of a version is readable.
    fn text(&self, version: &str) -> String {
        let lines = |map: &Map<String, Value>| {
            let lines = map
                .iter()
                .map(|(name, schema)| format!("{}: {schema}", json!(name)));
            lines.collect::<Vec<_>>().join(",\n")
        };
        let mut text = format!("{{\n\"version\": {},\n", json!(version));
        for (kind, messages) in &self.messages {
            let messages = messages.as_object().map(&lines).unwrap_or_default();
            text.push_str(&format!("\"{kind}\": {{\n{messages}\n}},\n"));
        }
        text.push_str(&format!(
            "\"definitions\": {{\n{}\n}}\n}}\n",
            lines(&self.needed)
        ));
        text
    }
}

/// Removes the keys that do not decide whether a value matches, and refers to the definitions of the file.
/// `are_properties`: the keys are names of properties.
fn reduced(schema: &Value, are_properties: bool) -> Value {
    const TEXTS: [&str; 5] = ["$schema", "default", "description", "format", "title"];
    match schema {
        Value::Object(fields) => {
            let kept = fields
                .iter()
                .filter(|(key, _)| are_properties || !TEXTS.contains(&key.as_str()));
            let kept = kept.map(|(key, value)| match value.as_str() {
                Some(target) if key == "$ref" && !are_properties => {
                    let name = target.rsplit('/').next().unwrap_or_default();
                    (key.clone(), format!("#/definitions/{name}").into())
                }
                _ => {
                    let are_properties = key == "properties" && !are_properties;
                    (key.clone(), reduced(value, are_properties))
                }
            });
            kept.collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items
            .iter()
            .map(|item| reduced(item, false))
            .collect::<Vec<_>>()
            .into(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema.clone(),
    }
}
