//! Generates the JSON Schema of the socket protocol from the types. The schema is for authors of clients in other
//! languages. `cargo xtask schema` writes it to `schema/protocol.json`; the test in this file fails if that file is
//! stale. This module is compiled only for tests.

use std::path::Path;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::document::{BoardView, ModesView, TeamStats, TeamStatus};
use crate::envelope::Envelope;
use crate::initialize::{self, Initialize, Initialized, PROTOCOL};
use crate::result::RunResult;
use crate::rpc::{TeamRef, WireError};
use crate::{method, notification};

/// The variable that `cargo xtask schema` sets to write the file instead of comparing it.
const WRITE: &str = "AGENT_TEAM_WRITE_SCHEMA";

fn schema() -> String {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut methods: Map<String, Value> = method::schemas(&mut generator)
        .into_iter()
        .map(|(name, args, answer)| {
            let call = json!({
                "params": {
                    "type": "object",
                    "properties": {
                        "team": generator.subschema_for::<TeamRef>(),
                        "key": {"type": "string", "maxLength": crate::rpc::KEY_MAX},
                        "args": args,
                    },
                    "required": ["args"],
                },
                "result": answer,
            });
            (name.to_owned(), call)
        })
        .collect();
    let first_call = json!({
        "params": generator.subschema_for::<Initialize>(),
        "result": generator.subschema_for::<Initialized>(),
    });
    methods.insert(initialize::METHOD.to_owned(), first_call);
    let notifications: Map<String, Value> = notification::schemas(&mut generator)
        .into_iter()
        .map(|(name, params)| (name.to_owned(), json!({"params": params})))
        .collect();
    let document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Supervisor socket protocol: one JSON-RPC 2.0 frame per line",
        "protocol": PROTOCOL.max,
        "error": generator.subschema_for::<WireError>(),
        "methods": methods,
        "notifications": notifications,
        "documents": {
            "event": generator.subschema_for::<Envelope>(),
            "run": generator.subschema_for::<RunResult>(),
            "board": generator.subschema_for::<BoardView>(),
            "modes": generator.subschema_for::<ModesView<'_>>(),
            "stats": generator.subschema_for::<TeamStats<'_>>(),
            "team": generator.subschema_for::<TeamStatus<'_>>(),
        },
        "$defs": generator.take_definitions(true),
    });
    let mut text = serde_json::to_string_pretty(&document).expect("a schema has string keys");
    text.push('\n');
    text
}

#[test]
fn the_schema_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/protocol.json");
    let schema = schema();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&file, schema).expect("the schema can be written");
        return;
    }
    let stored = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        stored == schema,
        "schema/protocol.json is stale: run cargo xtask schema"
    );
}
