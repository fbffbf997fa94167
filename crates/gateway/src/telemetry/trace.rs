//! Spans in the JSON form of OTLP, with the names and attributes of the GenAI conventions. Pure.
//!
//! ```text
//! invoke_workflow TEAM            a goal, the root of its trace
//! ├─ task T-3                     a claim of a task
//! │  └─ invoke_agent ada          a turn
//! │     ├─ chat MODEL             a request to the model
//! │     ├─ execute_tool bash      a tool call
//! │     └─ wait permission        a decision or a reply that the member waits for
//! └─ invoke_agent lead
//! ```
//! Work outside of a goal is a trace of its own.

use agent_team_client::spans::{Awaited, Outcome, Span, SpanPosition, Work};
use agent_team_protocol::TeamId;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::otlp::{Attribute, Attributes, nanoseconds};
use super::steps::TurnSteps;

/// Spans are sent without delay once there are this many.
const BATCH: usize = 512;

const INTERNAL: u64 = 1;
const CLIENT: u64 = 3;
const ERROR: u64 = 2;

/// Collects spans until they are sent.
#[derive(Debug)]
pub(super) struct Trace {
    team: TeamId,
    spans: Vec<Value>,
}

/// The parts of a span other than its attributes.
struct Frame {
    trace: String,
    id: String,
    parent: Option<String>,
    name: String,
    kind: u64,
    from: u64,
    to: u64,
    /// The value of `error.type`.
    error: Option<&'static str>,
}

impl Trace {
    pub(super) fn new(team: TeamId) -> Self {
        let spans = Vec::new();
        Self { team, spans }
    }

    pub(super) fn is_full(&self) -> bool {
        self.spans.len() >= BATCH
    }

    pub(super) fn take(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.spans)
    }

    /// Adds an ended span that is not a turn. Launches and held members are not exported: they can last for months.
    pub(super) fn add(&mut self, span: &Span) {
        let mut attributes = Attributes::default();
        let name = match &span.work {
            Work::Run { run } => {
                let name = self.team.name();
                attributes.add("gen_ai.operation.name", "invoke_workflow");
                attributes.add("gen_ai.workflow.name", name);
                attributes.add("gen_ai.conversation.id", format!("{}/{run}", self.team));
                format!("invoke_workflow {name}")
            }
            Work::Task { task, attempt, .. } => {
                attributes.add("agent_team.task.id", task.to_string());
                attributes.add("agent_team.task.attempt", u64::from(*attempt));
                format!("task {task}")
            }
            Work::Wait(Awaited::Decision(request)) => {
                attributes.add("agent_team.request.id", request.to_string());
                "wait permission".to_owned()
            }
            Work::Wait(Awaited::Reply(message)) => {
                attributes.add("agent_team.message.id", message.to_string());
                "wait reply".to_owned()
            }
            Work::Up { .. } | Work::Held { .. } | Work::Turn { .. } => return,
        };
        self.member(span, &mut attributes);
        let frame = self.frame(span, name);
        self.push(frame, attributes);
    }

    /// Adds a turn with its steps.
    pub(super) fn turn(&mut self, span: &Span, steps: &TurnSteps, model: Option<&str>) {
        let member = span.member.as_ref().map_or("", |member| member.as_str());
        let mut attributes = Attributes::default();
        attributes.add("gen_ai.operation.name", "invoke_agent");
        self.member(span, &mut attributes);
        let conversation = format!("{}/{member}", self.team);
        attributes.add("gen_ai.conversation.id", conversation.as_str());
        add_model(&mut attributes, model);
        attributes.add("gen_ai.usage.input_tokens", span.usage.input);
        attributes.add("gen_ai.usage.output_tokens", span.usage.output);
        if span.usage.micro_usd > 0 {
            attributes.add("agent_team.cost.usd", span.usage.micro_usd as f64 / 1e6);
        }
        let turn = self.frame(span, format!("invoke_agent {member}"));
        let (trace, parent) = (turn.trace.clone(), turn.id.clone());
        self.push(turn, attributes);

        let (provider, name) = split(model.unwrap_or_default());
        for request in &steps.requests {
            let mut attributes = Attributes::default();
            attributes.add("gen_ai.operation.name", "chat");
            attributes.add("gen_ai.agent.name", member);
            attributes.add("gen_ai.conversation.id", conversation.as_str());
            if provider.is_empty() {
                // The convention requires a provider.
                attributes.add("gen_ai.provider.name", "unknown");
            }
            add_model(&mut attributes, model);
            attributes.add("gen_ai.usage.input_tokens", request.usage.input);
            attributes.add("gen_ai.usage.output_tokens", request.usage.output);
            if request.usage.cached > 0 {
                attributes.add("gen_ai.usage.cache_read.input_tokens", request.usage.cached);
            }
            if !request.stop.is_empty() {
                let reasons = vec![finish_reason(&request.stop).to_owned()];
                attributes.add("gen_ai.response.finish_reasons", Attribute::Texts(reasons));
            }
            let key = format!("{} chat {}", span.position.key, request.item);
            self.push(
                Frame {
                    trace: trace.clone(),
                    id: self.span_id(&key),
                    parent: Some(parent.clone()),
                    name: format!("chat {name}").trim_end().to_owned(),
                    kind: CLIENT,
                    from: request.from,
                    to: request.to,
                    error: None,
                },
                attributes,
            );
        }
        for call in &steps.calls {
            let mut attributes = Attributes::default();
            attributes.add("gen_ai.operation.name", "execute_tool");
            attributes.add("gen_ai.tool.name", call.name.as_str());
            attributes.add("gen_ai.tool.call.id", call.id.as_str());
            attributes.add("gen_ai.tool.type", "function");
            attributes.add("gen_ai.agent.name", member);
            let key = format!("{} call {}", span.position.key, call.id);
            self.push(
                Frame {
                    trace: trace.clone(),
                    id: self.span_id(&key),
                    parent: Some(parent.clone()),
                    name: format!("execute_tool {}", call.name),
                    kind: INTERNAL,
                    from: call.from,
                    to: call.to,
                    error: call.has_failed.then_some("tool_error"),
                },
                attributes,
            );
        }
    }

    fn member(&self, span: &Span, attributes: &mut Attributes) {
        if let Some(member) = &span.member {
            attributes.add("gen_ai.agent.name", member.as_str());
            attributes.add("gen_ai.agent.id", format!("{member}@{}", self.team));
        }
        if let Some(run) = &span.run {
            attributes.add("agent_team.run.id", run.to_string());
        }
    }

    fn frame(&self, span: &Span, name: String) -> Frame {
        let SpanPosition { key, parent, root } = &span.position;
        Frame {
            trace: self.trace_id(root),
            id: self.span_id(key),
            parent: parent.as_ref().map(|parent| self.span_id(parent)),
            name,
            kind: INTERNAL,
            from: span.from,
            to: span.to.unwrap_or(span.from),
            error: match span.outcome {
                Outcome::UnderWay | Outcome::Done => None,
                Outcome::Failed => Some("failed"),
                Outcome::Stopped => Some("stopped"),
            },
        }
    }

    fn push(&mut self, frame: Frame, mut attributes: Attributes) {
        let mut status = json!({});
        if let Some(error) = frame.error {
            attributes.add("error.type", error);
            status = json!({"code": ERROR});
        }
        let mut span = json!({
            "traceId": frame.trace, "spanId": frame.id, "name": frame.name, "kind": frame.kind,
            "startTimeUnixNano": nanoseconds(frame.from), "endTimeUnixNano": nanoseconds(frame.to),
            "attributes": attributes.json(), "status": status,
        });
        if let Some(parent) = frame.parent {
            span["parentSpanId"] = parent.into();
        }
        self.spans.push(span);
    }

    fn digest(&self, key: &str) -> String {
        let mut digest = Sha256::new();
        digest.update(self.team.as_str());
        digest.update([0]);
        digest.update(key);
        agent_team_protocol::text::hex(&digest.finalize())
    }

    fn trace_id(&self, root: &str) -> String {
        let mut id = self.digest(&format!("trace {root}"));
        id.truncate(32);
        id
    }

    fn span_id(&self, key: &str) -> String {
        let mut id = self.digest(key);
        id.truncate(16);
        id
    }
}

/// Provider and name of `provider/model`.
fn split(model: &str) -> (&str, &str) {
    model.split_once('/').unwrap_or(("", model))
}

/// The name of a provider in the conventions.
pub(super) fn provider_name(provider: &str) -> &str {
    match provider {
        "google" | "gemini" => "gcp.gemini",
        "mistral" => "mistral_ai",
        "xai" => "x_ai",
        "azure" => "azure.ai.openai",
        "bedrock" => "aws.bedrock",
        other => other,
    }
}

pub(super) fn add_model(attributes: &mut Attributes, model: Option<&str>) {
    let (provider, name) = split(model.unwrap_or_default());
    if !provider.is_empty() {
        attributes.add("gen_ai.provider.name", provider_name(provider));
    }
    if !name.is_empty() {
        attributes.add("gen_ai.request.model", name);
    }
}

fn finish_reason(stop: &str) -> &str {
    match stop {
        "finished" => "stop",
        "calls" => "tool_calls",
        "refused" => "content_filter",
        other => other,
    }
}
