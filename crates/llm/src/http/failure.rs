//! Maps error responses to `ModelError` by status, headers and body. Called by `http`.
//!
//! Before a server's text is shown, it is shortened and escaped, and the key is redacted.

use std::time::Duration;

use agent_team_protocol::text::visible_label;
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::pause;
use crate::key::Key;
use crate::model::ModelError;

/// The largest length, in characters, of a server's message in an error.
const MESSAGE: usize = 600;

/// The largest length, in characters, of an unrecognized response in an error.
const SHOWN: usize = 200;

/// Parts of errors for a conversation that exceeds the model's window, in lower case. If only one or two servers send
/// a text, the comment above it names them.
const TOO_LONG: [&str; 25] = [
    "context_length_exceeded",
    "exceed_context_size",
    "maximum context length",
    "context window",
    "context size",
    "prompt is too long",
    "request_too_large",
    "input is too long",
    "too many input tokens",
    "exceeds the maximum number of tokens",
    "reduce the length of the messages",
    "too large for model",
    // Anthropic: "input length and `max_tokens` exceed context limit".
    "exceed context limit",
    // LM Studio, in three wordings.
    "greater than the context length",
    "context the overflows",
    "context overflow",
    // xAI: "maximum prompt length is 131072 but the request contains 537812 tokens".
    "maximum prompt length",
    // Kimi: "Your request exceeded model token limit".
    "exceeded model token limit",
    // z.ai, code 1261.
    "prompt exceeds max length",
    // Text Generation Inference and Together: "`inputs` tokens + `max_new_tokens` must be <= 4096".
    "`max_new_tokens` must be <=",
    // GitHub Copilot.
    "model_max_prompt_tokens_exceeded",
    "prompt token count of",
    // vLLM.
    "longer than the maximum model length",
    // Ollama.
    "exceeds the context length",
    // Alibaba: "Range of input length should be [1, 129024]".
    "range of input length should be",
];

/// Parts of errors for an invalid key with status 400, in lower case.
const NO_KEY: [&str; 4] = [
    "api_key_invalid",
    "invalid_api_key",
    "authentication_error",
    "api key not valid",
];

/// Parts of errors for an unknown model with status 400 or 422, in lower case.
const NO_MODEL: [&str; 4] = [
    "model_not_found",
    "invalid_model",
    "not_found_error",
    "invalid model",
];

/// Error codes for an exhausted budget with status 429, which otherwise means that a retry can succeed.
const NO_BUDGET: [&str; 2] = ["insufficient_quota", "billing_hard_limit"];

/// Parts of errors for an exhausted credit with status 400 or 403, in lower case. Anthropic: "Your credit balance is
/// too low to access the Anthropic API".
const NO_CREDIT: [&str; 2] = ["credit balance is too low", "billing_error"];

/// The server of a request, for errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) provider: &'a str,
    pub(super) model: &'a str,
    /// The URL, without credentials.
    pub(super) url: &'a str,
    pub(super) key: Option<&'a Key>,
}

impl Target<'_> {
    /// Maps an HTTP status other than success.
    pub(super) fn refusal(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> ModelError {
        let text = String::from_utf8_lossy(body);
        let retriable = is_retriable(status.as_u16());
        match serde_json::from_str(&text) {
            Ok(body) => {
                let after = pause::requested(headers, Timestamp::now());
                self.server_error(status.as_u16(), &body, after)
            }
            Err(_) if retriable => self.busy(
                status.as_u16(),
                self.escaped(&text, SHOWN),
                pause::requested(headers, Timestamp::now()),
            ),
            Err(_) if looks_like_html(&text) || status == StatusCode::NOT_FOUND => {
                self.invalid_response(&format!("status {status} without JSON"), &text)
            }
            Err(_) if status.is_redirection() => {
                let to = headers.get("location").and_then(|to| to.to_str().ok());
                let to = to.unwrap_or("nowhere");
                self.invalid_response(&format!("status {status}"), &format!("redirect to {to}"))
            }
            Err(_) => self.server_error(status.as_u16(), &Value::String(text.into_owned()), None),
        }
    }

    /// Maps an error within a stream, or in a response with a success status. An error without a status gets the status
    /// of its type.
    pub(super) fn stream_error(&self, error: &Value) -> ModelError {
        let error = error.get("error").unwrap_or(error);
        let code = error.get("code");
        let code = code.and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()));
        let named = code.and_then(|code| u16::try_from(code).ok());
        let text = |field: &str| error.get(field).and_then(Value::as_str);
        let kind = text("type").or_else(|| text("code")).unwrap_or("");
        let status = match kind {
            "authentication_error" => 401,
            "billing_error" => 402,
            "permission_error" => 403,
            "not_found_error" => 404,
            "request_too_large" => 413,
            "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" => 429,
            "overloaded_error" => 529,
            "invalid_request_error" | "invalid_prompt" => 400,
            // The response had a success status, so the request itself was valid.
            _ => 500,
        };
        let named = named.filter(|status| (400..600).contains(status));
        self.server_error(named.unwrap_or(status), error, None)
    }

    fn server_error(&self, status: u16, body: &Value, after: Option<Duration>) -> ModelError {
        let body = body
            .as_array()
            .and_then(|list| list.first())
            .unwrap_or(body);
        let error = body.get("error").unwrap_or(body);
        let message = message(error).or_else(|| message(body));
        let message = message.map_or_else(|| error.to_string(), str::to_owned);
        let message = self.escaped(&message, MESSAGE);
        let all = error.to_string().to_lowercase();
        let mentions = |words: &[&str]| words.iter().any(|word| all.contains(word));
        let provider = self.provider.to_owned();
        match status {
            _ if matches!(status, 400 | 413 | 422 | 500) && mentions(&TOO_LONG) => {
                ModelError::TooLong(message)
            }
            413 => ModelError::TooLong(message),
            429 if mentions(&NO_BUDGET) => ModelError::Refused {
                provider,
                status,
                message,
            },
            // `fallback` recognizes an exhausted budget by status 402.
            400 | 403 if mentions(&NO_CREDIT) => ModelError::Refused {
                provider,
                status: 402,
                message,
            },
            401 | 403 => ModelError::Unauthenticated {
                provider,
                status,
                message,
            },
            400 if mentions(&NO_KEY) => ModelError::Unauthenticated {
                provider,
                status,
                message,
            },
            404 => self.unknown_model(format!("{message} (at {})", self.url)),
            400 | 422 if mentions(&NO_MODEL) => self.unknown_model(message),
            status if is_retriable(status) => {
                self.busy(status, message, after.or_else(|| retry_delay(error)))
            }
            status => ModelError::Refused {
                provider,
                status,
                message,
            },
        }
    }

    fn unknown_model(&self, message: String) -> ModelError {
        ModelError::UnknownModel {
            provider: self.provider.to_owned(),
            model: self.model.to_owned(),
            message,
        }
    }

    fn busy(&self, status: u16, mut message: String, after: Option<Duration>) -> ModelError {
        if message.is_empty() {
            let reason = StatusCode::from_u16(status).ok();
            let reason = reason.and_then(|status| status.canonical_reason());
            message = reason.unwrap_or("no message").to_owned();
        }
        ModelError::Busy {
            provider: self.provider.to_owned(),
            status,
            message,
            after,
        }
    }

    /// The error for a response that violates the API.
    pub(super) fn invalid_response(&self, why: &str, body: &str) -> ModelError {
        ModelError::InvalidResponse {
            url: self.url.to_owned(),
            why: why.to_owned(),
            shown: self.escaped(body, SHOWN),
        }
    }

    /// The error for a response that is missing or truncated.
    pub(super) fn unreachable(
        &self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> ModelError {
        ModelError::Unreachable {
            url: self.url.to_owned(),
            source: source.into(),
        }
    }

    fn escaped(&self, text: &str, columns: usize) -> String {
        let text = text.trim();
        let text = match self.key {
            Some(key) => key.redact(text),
            None => text.to_owned(),
        };
        visible_label(&text, columns)
    }
}

/// Returns whether a retry of the same request may succeed.
fn is_retriable(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

pub(super) fn looks_like_html(text: &str) -> bool {
    text.trim_start().starts_with('<')
}

/// The error's message, in any of the known formats.
fn message(error: &Value) -> Option<&str> {
    if let Value::String(text) = error {
        return Some(text);
    }
    let fields = ["message", "detail", "error"];
    fields.iter().find_map(|key| error.get(key)?.as_str())
}

/// The retry delay in Google's format.
fn retry_delay(error: &Value) -> Option<Duration> {
    let details = error.get("details")?.as_array()?;
    let delay = details.iter().find_map(|detail| detail.get("retryDelay"))?;
    pause::parse_pause(delay.as_str()?, Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target<'_> = Target {
        provider: "openai",
        model: "gpt-5",
        url: "http://127.0.0.1/v1",
        key: None,
    };

    fn refusal(status: u16, body: &str) -> ModelError {
        let status = StatusCode::from_u16(status).expect("a status");
        TARGET.refusal(status, &HeaderMap::new(), body.as_bytes())
    }

    /// The name of the error's variant.
    fn kind(error: &ModelError) -> String {
        let text = format!("{error:?}");
        text.split([' ', '(', '{']).next().unwrap_or("").to_owned()
    }

    #[test]
    fn errors_are_mapped_by_status_and_message() {
        for (status, body, is) in [
            (
                401,
                r#"{"error":{"message":"Incorrect key"}}"#,
                "Unauthenticated",
            ),
            (403, "no", "Unauthenticated"),
            (
                400,
                r#"[{"error":{"status":"INVALID_ARGUMENT","message":"API key not valid."}}]"#,
                "Unauthenticated",
            ),
            (404, r#"{"error":"model 'x' not found"}"#, "UnknownModel"),
            (
                400,
                r#"{"error":{"code":"model_not_found","message":"no"}}"#,
                "UnknownModel",
            ),
            (404, "<html>nginx", "InvalidResponse"),
            (404, "404 page not found", "InvalidResponse"),
            (403, "<html>blocked", "InvalidResponse"),
            (307, "", "InvalidResponse"),
            (
                400,
                r#"{"error":{"code":"context_length_exceeded","message":"maximum context length is 10"}}"#,
                "TooLong",
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#,
                "TooLong",
            ),
            (
                400,
                r#"{"error":{"type":"exceed_context_size_error","message":"x"}}"#,
                "TooLong",
            ),
            (413, "too big", "TooLong"),
            (
                400,
                r#"{"error":{"code":"invalid_parameter_error","message":"<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]"}}"#,
                "TooLong",
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 199000 + 21333 > 200000, decrease input length or `max_tokens` and try again"}}"#,
                "TooLong",
            ),
            (
                400,
                r#"{"error":"Trying to keep the first 4621 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens"}"#,
                "TooLong",
            ),
            (
                400,
                r#"{"error":"The number of tokens to keep from the initial prompt is greater than the context length."}"#,
                "TooLong",
            ),
            (
                400,
                r#"{"code":"Client specified an invalid argument","error":"This model's maximum prompt length is 131072 but the request contains 537812 tokens."}"#,
                "TooLong",
            ),
            (
                400,
                r#"{"error":{"type":"invalid_request_error","message":"Invalid request: Your request exceeded model token limit: 262144"}}"#,
                "TooLong",
            ),
            (
                400,
                r#"{"error":{"code":"1261","message":"Prompt exceeds max length"}}"#,
                "TooLong",
            ),
            (
                422,
                r#"{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 512 `max_new_tokens`","error_type":"validation"}"#,
                "TooLong",
            ),
            (
                400,
                r#"{"error":{"message":"prompt token count of 164012 exceeds the limit of 128000","code":"model_max_prompt_tokens_exceeded"}}"#,
                "TooLong",
            ),
            (
                400,
                r#"{"object":"error","message":"The decoder prompt (length 5000) is longer than the maximum model length of 4096."}"#,
                "TooLong",
            ),
            (
                400,
                r#"{"error":"the input length exceeds the context length"}"#,
                "TooLong",
            ),
            (429, r#"{"error":{"message":"slow down"}}"#, "Busy"),
            (
                429,
                r#"{"error":{"code":"insufficient_quota","message":"pay"}}"#,
                "Refused",
            ),
            (500, "", "Busy"),
            (502, "<html>bad gateway", "Busy"),
            (
                529,
                r#"{"error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                "Busy",
            ),
            (400, r#"{"error":{"message":"bad schema"}}"#, "Refused"),
            (402, r#"{"error":{"message":"pay"}}"#, "Refused"),
            (418, "teapot", "Refused"),
        ] {
            let error = refusal(status, body);
            assert_eq!(kind(&error), is, "{status} {body}: {error:?}");
        }
    }

    #[test]
    fn an_error_in_a_stream_has_the_status_of_its_type() {
        for (error, is) in [
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                "openai is busy (529): Overloaded",
            ),
            (
                r#"{"error":{"code":429,"message":"wait"}}"#,
                "openai is busy (429): wait",
            ),
            (
                r#"{"error":{"code":"server_error","message":"oops"}}"#,
                "openai is busy (500): oops",
            ),
            (
                r#"{"error":{"type":"invalid_request_error","message":"no"}}"#,
                "openai refused the request (400): no",
            ),
            (
                r#"{"error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#,
                "openai refused the request (402): Your credit balance is too low",
            ),
            (
                r#"{"error":{"type":"billing_error","message":"pay"}}"#,
                "openai refused the request (402): pay",
            ),
        ] {
            let error = serde_json::from_str(error).expect("JSON");
            assert_eq!(TARGET.stream_error(&error).to_string(), is);
        }
    }

    #[test]
    fn googles_retry_delay_is_read_from_the_body() {
        let body =
            r#"[{"error":{"message":"quota","details":[{"@type":"a"},{"retryDelay":"34s"}]}}]"#;
        let ModelError::Busy { after, .. } = refusal(429, body) else {
            panic!("the error is not `Busy`")
        };
        assert_eq!(after, Some(Duration::from_secs(34)));
    }

    #[test]
    fn server_messages_are_escaped() {
        let error = refusal(400, "{\"error\":{\"message\":\"\\u001b[2Jgone\\nnow\"}}").to_string();
        assert!(!error.contains(['\u{1b}', '\n']), "{error:?}");
        let error = refusal(400, &format!("{{\"error\":\"{}\"}}", "x".repeat(99_999)));
        assert!(error.to_string().len() < 1_000);
    }
}
