//! Performs one row of the table of resources: makes the arguments of the call from path, query and body, calls the
//! supervisor, and makes the document of the answer.
//!
//! This file decides nothing about teams: the supervisor checks the arguments and changes nothing when it refuses them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::codec::FRAME_MAX;
use agent_team_protocol::document::{BoardView, ModesView, TeamStats, TeamStatus};
use agent_team_protocol::method::{
    Method as _, Nothing, RequestDecide, RequestShow, TaskListAnswer, TeamShow,
};
use agent_team_protocol::rpc::{KEY_MAX, TeamRef};
use agent_team_protocol::view::TeamView;
use agent_team_system::random;
use axum::body::Body as Content;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::Service;
use crate::access::{Permission, Permissions};
use crate::json;
use crate::problem::Problem;
use crate::resources::{Body, Document, Kind, Resource};
use crate::security::is_change;

/// Maximum length of a body, in bytes: longer calls do not fit into a frame of the supervisor.
pub(crate) const BODY_MAX: usize = FRAME_MAX;

/// A longer body is read up to this length and discarded: if the service closed a connection with unread data, the
/// reset could remove the answer before the client reads it.
const DISCARD_MAX: usize = 4 * BODY_MAX;

/// How long a client may take to send a body.
const BODY_LIMIT: Duration = Duration::from_secs(10);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The query parameter that names a team other than the team of the service.
pub(crate) const TEAM: &str = "team";

/// Answers a request for a resource.
pub(crate) async fn answer(
    service: Arc<Service>,
    resource: &'static Resource,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Response {
    match perform(&service, resource, path, request).await {
        Ok(document) => json(document.get().to_owned()),
        Err(problem) => problem.into_response(),
    }
}

pub(crate) fn json(text: String) -> Response {
    let mut response = Response::new(Content::from(text));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

async fn perform(
    service: &Service,
    resource: &Resource,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Box<RawValue>, Problem> {
    let permissions = permissions(request.extensions());
    check_permission(permissions, resource.permission)?;
    let _running = service.calls.try_acquire().map_err(|_busy| {
        let detail = "too many requests are in progress";
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_calls", detail)
    })?;
    let path = path.map_err(|error| bad_request(error.body_text()))?;
    let mut query = Query::parse(request.uri().query())?;
    let team = service.team_of(&mut query);
    let (parts, content) = request.into_parts();
    let key = match is_change(&parts.method) {
        true => Some(key(&parts.headers)?),
        false => None,
    };
    let body = read_body(&parts.headers, content).await?;
    let args = arguments(resource, &path, query, body)?;
    refuse_stored_rules(resource, &args)?;
    let args = to_raw_value(&args).expect("a value has a JSON form");
    let answer = service
        .session
        .call(resource.call.name, Some(team.clone()), key, &args)
        .await?;
    document(service, resource, team, &args, answer).await
}

fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::invalid(StatusCode::BAD_REQUEST, detail)
}

/// The permissions that `security.rs` found; read-only if it stored none.
pub(crate) fn permissions(extensions: &Extensions) -> Permissions {
    let permissions = extensions.get::<Permissions>().copied();
    permissions.unwrap_or(Permissions::READ_ONLY)
}

pub(crate) fn check_permission(
    permissions: Permissions,
    needed: Permission,
) -> Result<(), Problem> {
    if permissions.allow(needed) {
        return Ok(());
    }
    let detail = format!("the token has no permission to {}", needed.word());
    Err(Problem::new(StatusCode::FORBIDDEN, "not_permitted", detail))
}

/// The value of `Idempotency-Key`. Without this header, a random key, so that the call can be repeated after a lost
/// connection.
pub(crate) fn key(headers: &HeaderMap) -> Result<String, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let key = match (values.next(), values.next()) {
        (None, _) => return Ok(random::id()),
        (Some(key), None) => key.to_str().ok(),
        (Some(_), Some(_)) => None,
    };
    let key = key.filter(|key| !key.is_empty() && key.len() <= KEY_MAX);
    let key = key.ok_or_else(|| {
        bad_request(format!(
            "Idempotency-Key is one text of 1 to {KEY_MAX} bytes"
        ))
    })?;
    Ok(key.to_owned())
}

/// The parameters of a query.
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let earlier = parameters.insert(name.clone().into_owned(), value.into_owned());
            if earlier.is_some() {
                return Err(bad_request(format!("{name:?} is repeated in the query")));
            }
        }
        Ok(Self(parameters))
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    pub(crate) fn into_all(self) -> BTreeMap<String, String> {
        self.0
    }

    pub(crate) fn end(self) -> Result<(), Problem> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(bad_request(format!("unknown query parameter {name:?}"))),
        }
    }
}

/// The body of a request as JSON; `None` if it is empty.
pub(crate) async fn read_body(
    headers: &HeaderMap,
    content: Content,
) -> Result<Option<Value>, Problem> {
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > DISCARD_MAX as u64) {
        return Err(too_large());
    }
    let bytes = tokio::time::timeout(BODY_LIMIT, collect(content)).await;
    let bytes = bytes.map_err(|_elapsed| {
        let detail = "the body did not arrive in time";
        Problem::invalid(StatusCode::REQUEST_TIMEOUT, detail)
    })??;
    // A form of another origin can send other media types without a preflight.
    let media_type = headers.get(CONTENT_TYPE);
    let is_json = media_type.is_some_and(|media_type| is_json(media_type.as_bytes()));
    if !is_json && (media_type.is_some() || !bytes.is_empty()) {
        let detail = "a body is JSON";
        return Err(Problem::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
            .hint("send the header: Content-Type: application/json"));
    }
    if bytes.is_empty() {
        return Ok(None);
    }
    let value = json::parse(&bytes);
    let value = value.map_err(|error| bad_request(format!("the body is not JSON: {error}")))?;
    Ok(Some(value))
}

fn too_large() -> Problem {
    let detail = format!("a body has at most {BODY_MAX} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "frame_too_large", detail)
}

async fn collect(content: Content) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut length = 0;
    let mut chunks = content.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| bad_request(format!("cannot read the body: {error}")))?;
        length += chunk.len();
        if length > DISCARD_MAX {
            break;
        }
        if length <= BODY_MAX {
            bytes.extend_from_slice(&chunk);
        }
    }
    match length > BODY_MAX {
        true => Err(too_large()),
        false => Ok(bytes),
    }
}

/// Whether this is `application/json`, with or without parameters.
fn is_json(media_type: &[u8]) -> bool {
    let essence = media_type.split(|byte| *byte == b';').next();
    let essence = essence.unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"application/json")
}

/// The arguments of the call. Each argument has one source: an argument of the path is refused in the body.
fn arguments(
    resource: &Resource,
    path: &RawPathParams,
    mut query: Query,
    body: Option<Value>,
) -> Result<Map<String, Value>, Problem> {
    let mut args = match (resource.body, body) {
        (Body::None, Some(_)) => return Err(bad_request("this request has no body")),
        (Body::None | Body::Arguments, None) => Map::new(),
        (Body::Arguments, Some(Value::Object(body))) => body,
        (Body::Arguments, Some(_)) => return Err(bad_request("the body is not a JSON object")),
        (Body::Argument(_) | Body::Task, None) => {
            return Err(bad_request("this request needs a body"));
        }
        (Body::Argument(name), Some(value)) => Map::from_iter([(name.to_owned(), value)]),
        (Body::Task, Some(mut spec)) => {
            if let Value::Object(spec) = &mut spec
                && let Some(title) = spec.get("title").cloned()
            {
                spec.entry("key").or_insert(title);
            }
            Map::from_iter([("spec".to_owned(), spec)])
        }
    };
    for (name, value) in path {
        if args.insert(name.to_owned(), value.into()).is_some() {
            return Err(bad_request(format!(
                "the path already contains the {name}: remove it from the body"
            )));
        }
    }
    for param in resource.query {
        if let Some(text) = query.take(param.name) {
            args.insert(param.name.to_owned(), typed(param.name, param.kind, text)?);
        }
    }
    query.end()?;
    for (name, value) in resource.defaults {
        let value = || serde_json::from_str(value).expect("a default is JSON");
        args.entry(*name).or_insert_with(value);
    }
    Ok(args)
}

fn typed(name: &str, kind: Kind, text: String) -> Result<Value, Problem> {
    let value = match kind {
        Kind::Text => Some(Value::from(text.as_str())),
        Kind::Number => text.parse::<u64>().ok().map(Value::from),
        Kind::Flag => text.parse::<bool>().ok().map(Value::from),
    };
    let kind = match kind {
        Kind::Number => "number",
        Kind::Flag | Kind::Text => "flag",
    };
    value.ok_or_else(|| bad_request(format!("{name} is not a {kind}: {text:?}")))
}

/// Refuses decisions that also change the user's settings: only the command line writes the file of the settings.
fn refuse_stored_rules(resource: &Resource, args: &Map<String, Value>) -> Result<(), Problem> {
    let scope = args
        .get("decision")
        .and_then(|decision| decision.get("scope"));
    if resource.call.name != RequestDecide::NAME || scope.is_none_or(|scope| scope != "always") {
        return Ok(());
    }
    let detail = "cannot decide with scope always: it changes your settings";
    Err(
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "not_carried_out", detail)
            .hint("run: agent-team requests allow REQUEST --scope always"),
    )
}

async fn document(
    service: &Service,
    resource: &Resource,
    team: TeamRef,
    args: &RawValue,
    answer: Box<RawValue>,
) -> Result<Box<RawValue>, Problem> {
    match resource.document {
        Document::Answer => Ok(answer),
        Document::Team | Document::Stats | Document::Modes => {
            let shown = match resource.call.name {
                TeamShow::NAME => answer,
                _ => query(service, TeamShow::NAME, team, &Nothing {}).await?,
            };
            let team: TeamView = serde_json::from_str(shown.get())?;
            Ok(match resource.document {
                Document::Stats => raw(&TeamStats::of(&team)),
                Document::Modes => raw(&ModesView::of(&team)),
                Document::Team | Document::Answer | Document::Board | Document::Request => {
                    raw(&TeamStatus::of(&team))
                }
            })
        }
        Document::Board => {
            let mut page: TaskListAnswer = serde_json::from_str(answer.get())?;
            let mut tasks = Vec::new();
            loop {
                let next = page.next();
                tasks.append(&mut page.tasks);
                let Some(next) = next else { break };
                let answer = query(service, resource.call.name, team.clone(), &next).await?;
                page = serde_json::from_str(answer.get())?;
            }
            Ok(raw(&BoardView { tasks }))
        }
        Document::Request => {
            let args: Value = serde_json::from_str(args.get())?;
            let one = Map::from_iter([("request".to_owned(), args["request"].clone())]);
            query(service, RequestShow::NAME, team, &one).await
        }
    }
}

async fn query(
    service: &Service,
    method: &str,
    team: TeamRef,
    args: &impl Serialize,
) -> Result<Box<RawValue>, Problem> {
    let args = raw(args);
    let answer = service.session.call(method, Some(team), None, &args);
    Ok(answer.await?)
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("bare data has a JSON form")
}
