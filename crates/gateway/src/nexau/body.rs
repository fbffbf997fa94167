//! Reads the fields of a body or of a query, and collects every fault in the form of FastAPI, which NexAU's clients
//! know: `{"detail": [{"type", "loc", "msg", "input"}]}` with status 422.

use std::collections::BTreeMap;

use agent_team_protocol::view::TaskState;
use axum::extract::Request;
use axum::http::StatusCode;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::access::Permission;
use crate::call::{self, Query};
use crate::problem::Problem;

/// Why a request has no effect.
#[derive(Debug)]
pub(super) enum Failure {
    Problem(Problem),
    /// The faults of the fields.
    Invalid(Vec<Value>),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// The fields of a request. A faulty field reads as empty, and [`Fields::end`] reports it. Unknown fields are skipped,
/// as in NexAU.
#[derive(Debug)]
pub(super) struct Fields {
    /// `body` or `query`.
    place: &'static str,
    fields: Map<String, Value>,
    faults: Vec<Value>,
}

impl Fields {
    /// The fields of the body of a request that needs this permission.
    pub(super) async fn of_body(request: Request, needs: Permission) -> Result<Self, Failure> {
        let (parts, content) = request.into_parts();
        call::check_permission(call::permissions(&parts.extensions), needs)?;
        let body = match call::read_body(&parts.headers, content).await {
            Ok(body) => body,
            Err(problem) if problem.has_status(StatusCode::BAD_REQUEST) => {
                let error = json!({ "error": problem.detail() });
                return Err(Failure::Invalid(vec![json!({
                    "type": "json_invalid", "loc": ["body", 0], "msg": "JSON decode error", "input": {}, "ctx": error,
                })]));
            }
            Err(problem) => return Err(problem.into()),
        };
        let place = "body";
        let fault = |kind: &str, text: &str, input: Value| {
            let fault = json!({"type": kind, "loc": [place], "msg": text, "input": input});
            Failure::Invalid(vec![fault])
        };
        match body {
            Some(Value::Object(fields)) => Ok(Self::new(place, fields)),
            None => Err(fault("missing", "Field required", Value::Null)),
            Some(other) => Err(fault(
                "model_attributes_type",
                "Input should be a valid dictionary or object to extract fields from",
                other,
            )),
        }
    }

    /// The parameters of the query.
    pub(super) fn of_query(request: &Request) -> Result<Self, Failure> {
        let parameters = Query::parse(request.uri().query())?.into_all();
        let fields = parameters
            .into_iter()
            .map(|(name, text)| (name, text.into()));
        Ok(Self::new("query", fields.collect()))
    }

    fn new(place: &'static str, fields: Map<String, Value>) -> Self {
        Self {
            place,
            fields,
            faults: Vec::new(),
        }
    }

    pub(super) fn fault(&mut self, name: &str, kind: &str, text: &str, input: Value) {
        let loc = [self.place, name];
        let fault = json!({"type": kind, "loc": loc, "msg": text, "input": input});
        self.faults.push(fault);
    }

    /// The value of a field; `None` if the field is missing or null.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, name: &str) -> String {
        if !self.fields.contains_key(name) {
            let input = match self.place {
                "query" => Value::Null,
                _ => Value::Object(self.fields.clone()),
            };
            self.fault(name, "missing", "Field required", input);
            return String::new();
        }
        let value = self.fields.remove(name).unwrap_or_default();
        self.as_text(name, value)
    }

    fn as_text(&mut self, name: &str, value: Value) -> String {
        let Value::String(text) = value else {
            self.fault(name, "string_type", "Input should be a valid string", value);
            return String::new();
        };
        text
    }

    pub(super) fn optional_text(&mut self, name: &str) -> Option<String> {
        let value = self.take(name)?;
        Some(self.as_text(name, value))
    }

    pub(super) fn text_or(&mut self, name: &str, default: &str) -> String {
        match self.fields.remove(name) {
            Some(value) => self.as_text(name, value),
            None => default.to_owned(),
        }
    }

    pub(super) fn texts(&mut self, name: &str) -> Vec<String> {
        match self.fields.remove(name) {
            None => Vec::new(),
            Some(Value::Array(values)) => {
                let texts = values.into_iter().map(|value| self.as_text(name, value));
                texts.collect()
            }
            Some(other) => {
                self.fault(name, "list_type", "Input should be a valid list", other);
                Vec::new()
            }
        }
    }

    pub(super) fn integer_or_zero(&mut self, name: &str) -> i32 {
        let Some(value) = self.fields.remove(name) else {
            return 0;
        };
        let integer = value.as_i64().and_then(|number| i32::try_from(number).ok());
        integer.unwrap_or_else(|| {
            self.fault(name, "int_type", "Input should be a valid integer", value);
            0
        })
    }

    /// A number in the query; 0 if it is missing.
    pub(super) fn count(&mut self, name: &str) -> u64 {
        let Some(value) = self.fields.remove(name) else {
            return 0;
        };
        let count = value.as_str().and_then(|text| text.parse().ok());
        count.unwrap_or_else(|| {
            let text = "Input should be a valid integer, unable to parse string as an integer";
            self.fault(name, "int_parsing", text, value);
            0
        })
    }

    pub(super) fn state(&mut self, name: &str) -> TaskState {
        let text = self.text(name);
        let state = serde_json::from_value(Value::from(text.as_str()));
        match state {
            Ok(state) if state != TaskState::Unknown => state,
            _ => {
                let expected =
                    "Input should be pending, in_progress, completed, failed or cancelled";
                self.fault(name, "enum", expected, text.into());
                TaskState::Unknown
            }
        }
    }

    /// The values of `variables.template` as initial values of the team's memory. The other variables are refused:
    /// environment variables decide which programs and libraries a member runs, and a team has no storage for values
    /// that must not reach a model.
    pub(super) fn variables(&mut self) -> BTreeMap<String, Box<RawValue>> {
        let variables = match self.take("variables") {
            None => return BTreeMap::new(),
            Some(Value::Object(variables)) => variables,
            Some(other) => {
                let text = "Input should be a valid dictionary";
                self.fault("variables", "dict_type", text, other);
                return BTreeMap::new();
            }
        };
        let mut memory = BTreeMap::new();
        for (name, value) in variables {
            if value.is_null() || value.as_object().is_some_and(Map::is_empty) {
                continue;
            }
            if let Value::Object(values) = value
                && name == "template"
            {
                memory.extend(values.into_iter().map(|(name, value)| {
                    let value = to_raw_value(&value).expect("a value has a JSON form");
                    (name, value)
                }));
                continue;
            }
            let text =
                "only `template` can be set: set other variables where `agent-team serve` starts";
            self.fault("variables", "value_error", text, name.into());
        }
        memory
    }

    /// Reports the faults.
    pub(super) fn end(self) -> Result<(), Failure> {
        match self.faults.is_empty() {
            true => Ok(()),
            false => Err(Failure::Invalid(self.faults)),
        }
    }
}
