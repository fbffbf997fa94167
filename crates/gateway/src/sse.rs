//! Server-sent events: the answer that streams them, and their fields. Called by each route that streams.

use std::convert::Infallible;
use std::time::Duration;

use agent_team_protocol::Revision;
use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::Stream;
use futures_util::StreamExt;
use serde::Serialize;

use crate::problem::Problem;

/// A comment is sent after this time without an event, so that both sides notice a lost connection.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A comment line, which clients ignore.
pub(crate) const COMMENT: Bytes = Bytes::from_static(b":\n\n");

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The answer that streams these chunks.
pub(crate) fn response(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let mut response = Response::new(Body::from_stream(chunks.map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    let media_type = HeaderValue::from_static("text/event-stream");
    headers.insert(CONTENT_TYPE, media_type);
    // Proxies must not buffer the events.
    let accel = HeaderName::from_static("x-accel-buffering");
    headers.insert(accel, HeaderValue::from_static("no"));
    response
}

/// An event with this document.
pub(crate) fn data(document: &impl Serialize) -> String {
    let text = serde_json::to_string(document).expect("bare data has a JSON form");
    format!("data: {text}\n\n")
}

/// These events as one text. Only the last event has the id: a client that is cut off between the events receives all
/// of them again.
pub(crate) fn with_id(revision: Option<Revision>, mut events: Vec<String>) -> String {
    if let Some(Revision(revision)) = revision {
        let last = events.pop().unwrap_or_else(|| "\n".to_owned());
        events.push(format!("id: {revision}\n{last}"));
    }
    events.concat()
}

/// The revision in `Last-Event-ID`, else in this parameter of the query; `None` without both.
pub(crate) fn resume_after(
    headers: &HeaderMap,
    parameter: Option<String>,
) -> Result<Option<Revision>, Problem> {
    let text = match headers.get(LAST_EVENT_ID) {
        Some(header) => header.to_str().unwrap_or("?").to_owned(),
        None => parameter.unwrap_or_default(),
    };
    // A client without an event sends an empty header.
    if text.is_empty() {
        return Ok(None);
    }
    let revision = text.parse().map_err(|_error| {
        let detail = format!("{text:?} is not a revision");
        Problem::invalid(StatusCode::BAD_REQUEST, detail)
    })?;
    Ok(Some(Revision(revision)))
}
