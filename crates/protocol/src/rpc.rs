//! JSON-RPC 2.0, the shape of every frame.
//!
//! Parsing is lazy: a [`Frame`] borrows its parameters as raw JSON, which is parsed once the method is known.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::Refusal;
use crate::id::TeamId;
use crate::method::Method;
use crate::notification::Notification;

/// Any frame, classified by [`Frame::kind`].
#[derive(Debug, Deserialize)]
pub struct Frame<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<WireError>,
}

/// The kinds of frames.
#[derive(Debug)]
pub enum FrameKind<'a> {
    Request {
        id: &'a RawValue,
        method: String,
        params: &'a RawValue,
    },
    Notification {
        method: String,
        params: &'a RawValue,
    },
    Response {
        id: &'a RawValue,
        outcome: Result<&'a RawValue, WireError>,
    },
}

impl<'a> Frame<'a> {
    /// Parses a frame except its parameters and its result.
    ///
    /// # Errors
    /// `parse_error` when the text is not JSON of this shape.
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        serde_json::from_str(text).map_err(|error| Refusal::parse_error(&error))
    }

    /// Classifies the frame by the fields that it has.
    ///
    /// # Errors
    /// `invalid_request` when the frame is neither a request, a notification nor a response.
    pub fn kind(self) -> Result<FrameKind<'a>, Refusal> {
        let params = self.params.unwrap_or(RawValue::NULL);
        match (self.id, self.method, self.result, self.error) {
            (Some(id), Some(method), None, None) => Ok(FrameKind::Request { id, method, params }),
            (None, Some(method), None, None) => Ok(FrameKind::Notification { method, params }),
            (Some(id), None, Some(result), None) => Ok(FrameKind::Response {
                id,
                outcome: Ok(result),
            }),
            // An error without an id answers a frame that could not be parsed.
            (id, None, None, Some(error)) => Ok(FrameKind::Response {
                id: id.unwrap_or(RawValue::NULL),
                outcome: Err(error),
            }),
            _ => Err(Refusal::invalid_request(
                "a frame is a request, a notification or a response",
            )),
        }
    }
}

/// JSON-RPC's error object; `data` contains the code, the message and the hint.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WireError {
    pub code: i32,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Refusal>,
}

impl From<Refusal> for WireError {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code.json_rpc(),
            message: refusal.message.clone(),
            data: Some(refusal),
        }
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        error.data.unwrap_or_else(|| Self::internal(error.message))
    }
}

/// The parameters of every method except `initialize`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call<A> {
    /// The team of the call. Not needed in calls of members, and in calls that concern no existing team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<TeamRef>,
    /// A mutating call that is repeated with the same key has no second effect: it returns the first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub args: A,
}

/// Maximum length of a key, in bytes.
pub const KEY_MAX: usize = 64;

/// How the user refers to a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "by", content = "value", rename_all = "snake_case")]
pub enum TeamRef {
    Id(TeamId),
    /// A team's name or id as typed. A name that several projects use is refused with the candidates.
    Name(String),
    /// The team whose project contains this directory.
    Directory(std::path::PathBuf),
}

#[derive(Serialize)]
struct OutRequest<'a, A> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: &'a A,
}

#[derive(Serialize)]
struct OutNotification<'a, A> {
    jsonrpc: &'static str,
    method: &'a str,
    params: &'a A,
}

#[derive(Serialize)]
struct OutResult<'a, A> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    result: &'a A,
}

#[derive(Serialize)]
struct OutError<'a> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    error: WireError,
}

const VERSION: &str = "2.0";

fn line(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value)
        .expect("wire types have string keys and no failing serializers");
    line.push('\n');
    line
}

/// A request as one line, with its newline.
pub fn request<M: Method>(id: u64, call: &Call<M::Args>) -> String {
    request_named(id, M::NAME, call)
}

/// [`request`] for a method known by name only.
pub fn request_named(id: u64, method: &str, call: &Call<impl Serialize>) -> String {
    line(&OutRequest {
        jsonrpc: VERSION,
        id,
        method,
        params: call,
    })
}

/// The `initialize` request, which has its parameters without an envelope.
pub fn initialize(id: u64, params: &crate::initialize::Initialize) -> String {
    line(&OutRequest {
        jsonrpc: VERSION,
        id,
        method: crate::initialize::METHOD,
        params,
    })
}

/// A notification as one line, with its newline.
pub fn notification<N: Notification>(params: &N) -> String {
    line(&OutNotification {
        jsonrpc: VERSION,
        method: N::NAME,
        params,
    })
}

/// The answer to the request `id`, as one line.
pub fn result(id: &RawValue, result: &impl Serialize) -> String {
    line(&OutResult {
        jsonrpc: VERSION,
        id,
        result,
    })
}

/// The refusal of the request `id`, as one line; `RawValue::NULL` if the id is unknown.
pub fn error(id: &RawValue, refusal: Refusal) -> String {
    line(&OutError {
        jsonrpc: VERSION,
        id,
        error: refusal.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_classified() {
        let kind = |text: &'static str| Frame::parse(text).and_then(Frame::kind);
        assert!(matches!(
            kind(r#"{"jsonrpc":"2.0","id":1,"method":"a/b"}"#),
            Ok(FrameKind::Request { .. })
        ));
        assert!(matches!(
            kind(r#"{"method":"a/b","params":{}}"#),
            Ok(FrameKind::Notification { .. })
        ));
        assert!(matches!(
            kind(r#"{"id":"x","result":{}}"#),
            Ok(FrameKind::Response { outcome: Ok(_), .. })
        ));
        assert_eq!(
            kind("{}").unwrap_err().code,
            crate::ErrorCode::InvalidRequest
        );
        assert_eq!(kind("[1").unwrap_err().code, crate::ErrorCode::ParseError);
    }
}
