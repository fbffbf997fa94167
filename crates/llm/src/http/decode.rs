//! The interface of the decoders of all APIs. Implemented by `chat`, `responses` and `messages`, called by the HTTP
//! model.

use serde_json::Value;

use super::draft::OnDelta;
use crate::model::Answer;

/// Whether further events follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Ended,
}

/// Why an event cannot be used.
#[derive(Debug)]
pub(super) enum EventError {
    /// The event reports a server error, with this body.
    Error(Value),
    /// The event violates the API.
    Invalid(String),
}

/// Decodes the events of one API into an answer.
pub(super) trait Decode: Send {
    fn event(&mut self, data: &str, on_delta: OnDelta<'_>) -> Result<Progress, EventError>;

    /// Returns the answer, or `None` if it was truncated. `ended`: the final event was received.
    fn finish(self: Box<Self>, ended: bool) -> Option<Answer>;
}
