//! The documents of the OpenTelemetry protocol in JSON. Pure.
//!
//! This file makes the documents itself: they are short, and the protocol's JSON form is stable. The crates of
//! OpenTelemetry make spans of the running program, with a global provider. The spans here have ended in other
//! processes, and their ids follow from the history.

use agent_team_protocol::TeamId;
use serde_json::{Value, json};

use super::environment::TelemetrySettings;

/// The value of an attribute.
#[derive(Debug, Clone)]
pub(super) enum Attribute {
    Text(String),
    Number(u64),
    Decimal(f64),
    Texts(Vec<String>),
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<f64> for Attribute {
    fn from(number: f64) -> Self {
        Self::Decimal(number)
    }
}

/// The attributes of a span, a metric or a resource.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes(Vec<(String, Attribute)>);

impl Attributes {
    pub(super) fn add(&mut self, key: &str, value: impl Into<Attribute>) -> &mut Self {
        self.0.push((key.to_owned(), value.into()));
        self
    }

    pub(super) fn json(&self) -> Value {
        let attribute = |(key, value): &(String, Attribute)| {
            let value = match value {
                Attribute::Text(text) => json!({"stringValue": text}),
                // 64-bit numbers are strings in the JSON form.
                Attribute::Number(number) => json!({"intValue": number.to_string()}),
                Attribute::Decimal(number) => json!({"doubleValue": number}),
                Attribute::Texts(texts) => {
                    let values: Vec<_> = texts
                        .iter()
                        .map(|text| json!({"stringValue": text}))
                        .collect();
                    json!({"arrayValue": {"values": values}})
                }
            };
            json!({"key": key, "value": value})
        };
        self.0.iter().map(attribute).collect()
    }
}

/// A time in the JSON form: nanoseconds, from milliseconds.
pub(super) fn nanoseconds(ms: u64) -> String {
    (u128::from(ms) * 1_000_000).to_string()
}

pub(super) fn resource(settings: &TelemetrySettings, team: &TeamId) -> Value {
    let mut attributes = Attributes::default();
    for (key, value) in &settings.resource {
        attributes.add(key, value.as_str());
    }
    attributes.add("service.version", env!("CARGO_PKG_VERSION"));
    attributes.add("agent_team.team", team.as_str());
    json!({"attributes": attributes.json()})
}

fn scope() -> Value {
    json!({"name": "agent-team", "version": env!("CARGO_PKG_VERSION")})
}

/// The body of `/v1/traces`.
pub(super) fn traces(spans: Vec<Value>, resource: &Value) -> Value {
    let spans = json!([{"scope": scope(), "spans": spans}]);
    json!({"resourceSpans": [{"resource": resource, "scopeSpans": spans}]})
}

/// The body of `/v1/metrics`.
pub(super) fn metrics(metrics: Vec<Value>, resource: &Value) -> Value {
    let metrics = json!([{"scope": scope(), "metrics": metrics}]);
    json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": metrics}]})
}
