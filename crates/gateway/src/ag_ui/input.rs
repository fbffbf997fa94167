//! The body of a request: AG-UI's `RunAgentInput`. Unknown fields are skipped, as the protocol requires. Pure.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::problem::Problem;

/// Maximum length of a run's id, so that it fits into an idempotency key.
const RUN_ID_MAX: usize = 56;

/// Maximum length of a thread's id, which the service only sends back.
const THREAD_ID_MAX: usize = 256;

/// The parts of a request that the service uses.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) thread_id: String,
    pub(super) run_id: String,
    /// The last message, if it is from the user and the request answers no interrupt.
    pub(super) message: Option<Message>,
    pub(super) answers: Vec<Answer>,
    /// Whether the stream ends when a decision of the user is needed.
    pub(super) interrupts: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: String,
    /// The text of the message, with the context of the request.
    pub(super) text: String,
}

/// The answer to an interrupt.
#[derive(Debug)]
pub(super) struct Answer {
    /// The id of a permission request or of a question.
    pub(super) interrupt: String,
    pub(super) reply: Reply,
}

#[derive(Debug)]
pub(super) enum Reply {
    Approve,
    Deny { reason: String },
    Text(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunAgentInput {
    thread_id: String,
    run_id: String,
    messages: Vec<InputMessage>,
    #[serde(default)]
    context: Vec<Context>,
    #[serde(default)]
    resume: Vec<ResumeEntry>,
    #[serde(default)]
    forwarded_props: Value,
}

#[derive(Deserialize)]
struct InputMessage {
    id: String,
    role: String,
    #[serde(default)]
    content: Value,
}

#[derive(Deserialize)]
struct Context {
    description: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResumeEntry {
    interrupt_id: String,
    status: Status,
    #[serde(default)]
    payload: Value,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Resolved,
    Cancelled,
}

impl Input {
    pub(super) fn parse(body: Value) -> Result<Self, Problem> {
        let input: RunAgentInput = serde_json::from_value(body)
            .map_err(|error| invalid(format!("the body is not a RunAgentInput: {error}")))?;
        for (name, id, max) in [
            ("threadId", &input.thread_id, THREAD_ID_MAX),
            ("runId", &input.run_id, RUN_ID_MAX),
        ] {
            if id.is_empty() || id.len() > max {
                return Err(invalid(format!("{name} is a text of 1 to {max} bytes")));
            }
        }
        let last = input.messages.last();
        let asks = last.filter(|message| message.role == "user" && input.resume.is_empty());
        let message = asks.map(|message| with_context(message, &input.context));
        let answers = input
            .resume
            .into_iter()
            .map(answer)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            thread_id: input.thread_id,
            run_id: input.run_id,
            message: message.transpose()?,
            answers,
            interrupts: input.forwarded_props["interrupts"] != Value::Bool(false),
        })
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_params", detail)
}

/// The text parts of a message; media are skipped.
fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let text = parts.iter().filter(|part| part["type"] == "text");
            let text: Vec<_> = text.filter_map(|part| part["text"].as_str()).collect();
            text.join("\n")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

fn with_context(message: &InputMessage, context: &[Context]) -> Result<Message, Problem> {
    let mut text = text(&message.content);
    if text.trim().is_empty() {
        return Err(invalid("the message of the user contains no text"));
    }
    if !context.is_empty() {
        text.push_str("\n\nContext:");
    }
    for Context { description, value } in context {
        text.push_str(&format!("\n- {description}: {value}"));
    }
    let id = message.id.clone();
    Ok(Message { id, text })
}

/// An answer without a clear decision is refused: it must not allow a call, and a denial could surprise the user.
fn answer(entry: ResumeEntry) -> Result<Answer, Problem> {
    let approved = entry.payload["approved"].as_bool();
    let reason = entry.payload["reason"].as_str();
    let text = entry.payload["answer"].as_str();
    let reply = match (entry.status, approved, text) {
        (Status::Cancelled, _, _) => Reply::Deny {
            reason: "the user cancelled the question".to_owned(),
        },
        (Status::Resolved, Some(true), None) => Reply::Approve,
        (Status::Resolved, Some(false), None) => Reply::Deny {
            reason: reason.unwrap_or_default().to_owned(),
        },
        (Status::Resolved, None, Some(text)) => Reply::Text(text.to_owned()),
        (Status::Resolved, _, _) => {
            let id = entry.interrupt_id;
            return Err(invalid(format!("the payload for {id:?} has no decision"))
                .hint("send {\"approved\": true}, {\"approved\": false}, or {\"answer\": \"…\"}"));
        }
    };
    let interrupt = entry.interrupt_id;
    Ok(Answer { interrupt, reply })
}
