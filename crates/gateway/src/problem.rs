//! Errors as problem documents (RFC 9457), with the codes of the command line. All error answers of the service are
//! made here, except the faulty fields of NexAU and the errors of MCP sessions.

use std::borrow::Cow;

use agent_team_client::{CallError, SessionError};
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::{ErrorCode, Refusal};
use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Why a request failed.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    hint: Option<String>,
}

/// The document of an error.
#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            detail: detail.into(),
            hint: None,
        }
    }

    /// A malformed request: `invalid_request`.
    pub(crate) fn invalid(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::new(status, "invalid_request", detail)
    }

    /// Whether the supervisor refused the call with this code.
    pub(crate) fn has_code(&self, code: ErrorCode) -> bool {
        self.code == name(code)
    }

    pub(crate) fn has_status(&self, status: StatusCode) -> bool {
        self.status == status
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Replaces the status of a refusal. The status 429, and the status of a failure such as a lost supervisor, remain.
    #[must_use]
    pub(crate) fn with_client_status(mut self, status: StatusCode) -> Self {
        if self.status.is_client_error() && self.status != StatusCode::TOO_MANY_REQUESTS {
            self.status = status;
        }
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self {
            status: status(refusal.code),
            code: name(refusal.code).into(),
            detail: refusal.message,
            hint: refusal.hint,
        }
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::TooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                name(ErrorCode::FrameTooLarge),
                error.to_string(),
            ),
            SessionError::NotRunning
            | SessionError::Stopped
            | SessionError::NoTeams
            | SessionError::Connect(_)
            | SessionError::Call(CallError::Disconnected) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unreachable",
                error.to_string(),
            )
            .hint("start the supervisor with: agent-team ps"),
            SessionError::Directories(_)
            | SessionError::Read { .. }
            | SessionError::Call(CallError::Refused(_) | CallError::Answer { .. }) => {
                Refusal::from(error).into()
            }
        }
    }
}

impl From<serde_json::Error> for Problem {
    /// The supervisor's answer cannot be decoded.
    fn from(error: serde_json::Error) -> Self {
        let detail = format!("cannot read the supervisor's answer: {error}");
        Self::new(StatusCode::BAD_GATEWAY, "invalid_answer", detail)
            .hint("after an upgrade, run: agent-team supervisor restart")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: &self.code,
            hint: self.hint.as_deref(),
        };
        let text = serde_json::to_string(&document).expect("a problem has a JSON form");
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ]
        .contains(&self.status)
        {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The answer to a request with a method that its path does not have. Keeps the header `Allow` of the router.
pub(crate) fn method_not_allowed(routed: &Response) -> Response {
    let detail = "the resource does not have this method";
    let mut response = Problem::invalid(StatusCode::METHOD_NOT_ALLOWED, detail).into_response();
    if let Some(allow) = routed.headers().get(ALLOW) {
        response.headers_mut().insert(ALLOW, allow.clone());
    }
    response
}

/// The name of a code, as on the socket and in `--json`.
fn name(code: ErrorCode) -> String {
    let name = serde_json::to_value(code).expect("a code is a text");
    name.as_str().unwrap_or("unknown").to_owned()
}

fn status(code: ErrorCode) -> StatusCode {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the exit code decides for all other codes"
    )]
    match code {
        ErrorCode::FrameTooLarge | ErrorCode::MessageTooLarge | ErrorCode::ResultTooLarge => {
            return StatusCode::PAYLOAD_TOO_LARGE;
        }
        ErrorCode::InvalidParams | ErrorCode::KeyReused => {
            return StatusCode::UNPROCESSABLE_ENTITY;
        }
        ErrorCode::TooManyCalls | ErrorCode::InboxFull => return StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::StorageFull => return StatusCode::INSUFFICIENT_STORAGE,
        ErrorCode::ShuttingDown => return StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::AmbiguousTeam => return StatusCode::CONFLICT,
        // The supervisor is older than this program.
        ErrorCode::MethodNotFound => return StatusCode::NOT_IMPLEMENTED,
        _ => {}
    }
    match code.exit() {
        ExitCode::Usage => StatusCode::UNPROCESSABLE_ENTITY,
        ExitCode::NotFound => StatusCode::NOT_FOUND,
        ExitCode::Refused => StatusCode::CONFLICT,
        ExitCode::Denied => StatusCode::FORBIDDEN,
        ExitCode::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
        ExitCode::Done | ExitCode::Failed | ExitCode::Survived | ExitCode::Bug => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}
