//! Turns envelopes into the events of AG-UI 1.0. Pure.
//!
//! The lead is the agent of the run, and each other member is a subagent: its first event is preceded by
//! `SUBAGENT_STARTED`, and its events carry its `subagentRunId`. Each text, call, step and subagent that was started is
//! finished before the run ends, even if the stream ends before the run of the team.

use std::collections::{BTreeMap, BTreeSet};

use agent_team_protocol::envelope::Envelope;
use agent_team_protocol::{MemberName, RunId};
use serde_json::{Map, Value, json};

/// How a run ends for its client.
#[derive(Debug)]
pub(super) enum End {
    /// The run was answered; contains the answer of the lead.
    Answered(String),
    /// No run is under way.
    Idle,
    Cancelled,
    Failed {
        message: String,
        code: String,
    },
    /// The run continues when these interrupts are answered.
    Interrupted(Vec<Interrupt>),
}

/// A decision that a member needs.
#[derive(Debug)]
pub(super) struct Interrupt {
    pub(super) id: String,
    pub(super) member: MemberName,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) response_schema: Value,
}

/// Converts the envelopes of one stream.
#[derive(Debug)]
pub(super) struct Converter {
    thread_id: String,
    run_id: String,
    /// A part of the ids of subagents, so that the ids are the same in all streams of one run.
    run: Option<RunId>,
    lead: Option<MemberName>,
    /// The started subagents by their id.
    subagents: BTreeSet<String>,
    /// Texts, calls and steps that have begun, with the event that ends each.
    open: BTreeMap<(Kind, String), Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Text,
    Call,
    Step,
}

impl Converter {
    pub(super) fn new(
        thread_id: String,
        run_id: String,
        run: Option<RunId>,
        lead: Option<MemberName>,
    ) -> Self {
        Self {
            thread_id,
            run_id,
            run,
            lead,
            subagents: BTreeSet::new(),
            open: BTreeMap::new(),
        }
    }

    pub(super) fn start(&self) -> Value {
        json!({
            "type": "RUN_STARTED", "threadId": self.thread_id, "runId": self.run_id, "protocolVersion": "1.0",
        })
    }

    /// The events for an envelope. An envelope that begins or ends the run of the team gives no event: the stream has
    /// its own events for them.
    pub(super) fn event(&mut self, envelope: &Envelope) -> Vec<Value> {
        let event = serde_json::to_value(&envelope.event).expect("an event has a JSON form");
        let Value::Object(mut event) = event else {
            return Vec::new();
        };
        let Some(Value::String(kind)) = event.get("type").cloned() else {
            return Vec::new();
        };
        if kind.starts_with("RUN_") {
            return Vec::new();
        }
        let mut events = Vec::new();
        let member = envelope
            .agent_id
            .as_deref()
            .and_then(|id| id.split('@').next());
        // A state event concerns the whole team, not a member.
        let member = member.filter(|_| !kind.starts_with("STATE_"));
        if let Some(member) = member.filter(|name| !self.is_lead(name)) {
            let subagent = self.subagent(member);
            if self.subagents.insert(subagent.clone()) {
                let role = envelope.role_name.as_ref();
                let role = role.map_or("member", |role| role.as_str());
                events.push(json!({
                    "type": "SUBAGENT_STARTED", "subagentRunId": subagent, "name": member, "description": role,
                }));
            }
            event.insert("subagentRunId".to_owned(), subagent.into());
        }
        if kind.starts_with("STEP_") {
            // AG-UI 1.0 permits further data only in `metadata`.
            let fields = ["member", "round"].map(|name| (name.to_owned(), event.remove(name)));
            let fields = fields.into_iter().map(|(name, value)| (name, value.into()));
            event.insert("metadata".to_owned(), Value::Object(fields.collect()));
        }
        if self.track(&kind, &event) {
            events.push(Value::Object(event));
        }
        events
    }

    /// The last events of the stream.
    pub(super) fn end(&mut self, end: End) -> Vec<Value> {
        let mut events: Vec<_> = std::mem::take(&mut self.open).into_values().collect();
        let (interrupts, is_suspended) = match &end {
            End::Interrupted(interrupts) => (interrupts.as_slice(), true),
            End::Answered(_) | End::Idle | End::Cancelled | End::Failed { .. } => (&[][..], false),
        };
        for subagent in std::mem::take(&mut self.subagents) {
            let ids = interrupts.iter();
            let ids = ids.filter(|interrupt| self.subagent(interrupt.member.as_str()) == subagent);
            let ids: Vec<_> = ids.map(|interrupt| &interrupt.id).collect();
            let outcome = match is_suspended {
                true => json!({"type": "suspended", "interruptIds": ids}),
                false => json!({"type": "success"}),
            };
            events.push(json!({
                "type": "SUBAGENT_FINISHED", "subagentRunId": subagent, "outcome": outcome,
            }));
        }
        if let End::Answered(answer) = &end
            && !answer.is_empty()
        {
            let id = format!("{}/answer", self.run_id);
            events.extend([
                json!({"type": "TEXT_MESSAGE_START", "messageId": id, "role": "assistant"}),
                json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": id, "delta": answer}),
                json!({"type": "TEXT_MESSAGE_END", "messageId": id}),
            ]);
        }
        let mut finished = json!({
            "type": "RUN_FINISHED", "threadId": self.thread_id, "runId": self.run_id,
        });
        let outcome = match end {
            End::Failed { message, code } => {
                events.push(json!({"type": "RUN_ERROR", "message": message, "code": code}));
                return events;
            }
            End::Answered(answer) => {
                finished["result"] = json!({"final_answer": answer});
                json!({"type": "success"})
            }
            End::Idle => json!({"type": "success"}),
            End::Cancelled => json!({"type": "cancelled"}),
            End::Interrupted(interrupts) => {
                let interrupts: Vec<_> = interrupts
                    .into_iter()
                    .map(|one| self.interrupt(one))
                    .collect();
                json!({"type": "interrupt", "interrupts": interrupts})
            }
        };
        finished["outcome"] = outcome;
        events.push(finished);
        events
    }

    fn interrupt(&self, interrupt: Interrupt) -> Value {
        let mut value = json!({
            "id": interrupt.id, "reason": interrupt.reason, "message": interrupt.message,
            "responseSchema": interrupt.response_schema, "metadata": {"member": interrupt.member},
        });
        if !self.is_lead(interrupt.member.as_str()) {
            value["subagentRunId"] = self.subagent(interrupt.member.as_str()).into();
        }
        value
    }

    fn is_lead(&self, member: &str) -> bool {
        self.lead
            .as_ref()
            .is_some_and(|lead| lead.as_str() == member)
    }

    fn subagent(&self, member: &str) -> String {
        match self.run {
            Some(run) => format!("{member}@{run}"),
            None => member.to_owned(),
        }
    }

    /// Records the start and the end of each text, call and step. Returns false for an event that must not be sent: a
    /// repeated start, or an end whose start was not sent, because a stream may start in the middle of a round.
    fn track(&mut self, kind: &str, event: &Map<String, Value>) -> bool {
        let (begins, entity, field) = match kind {
            "TEXT_MESSAGE_START" => (Some("TEXT_MESSAGE_END"), Kind::Text, "messageId"),
            "TOOL_CALL_START" => (Some("TOOL_CALL_END"), Kind::Call, "toolCallId"),
            "STEP_STARTED" => (Some("STEP_FINISHED"), Kind::Step, "stepName"),
            "TEXT_MESSAGE_END" => (None, Kind::Text, "messageId"),
            "TOOL_CALL_END" => (None, Kind::Call, "toolCallId"),
            "STEP_FINISHED" => (None, Kind::Step, "stepName"),
            _ => return true,
        };
        let id = event.get(field).and_then(Value::as_str).unwrap_or_default();
        let key = (entity, id.to_owned());
        let Some(end) = begins else {
            return self.open.remove(&key).is_some();
        };
        let mut ended = json!({"type": end, field: id});
        if let Some(subagent) = event.get("subagentRunId") {
            ended["subagentRunId"] = subagent.clone();
        }
        self.open.insert(key, ended).is_none()
    }
}
