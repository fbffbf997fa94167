//! The public event stream: AG-UI events, each in an envelope that names its team, member and run.
//!
//! `events --json` and `run --events` print envelopes, one per line, and the library yields them. The crate `client`
//! makes the envelopes from notices; the socket carries client events ([`crate::event`]) instead.
//!
//! [`AgUi`] uses the names and fields of the [AG-UI protocol](https://docs.ag-ui.com/concepts/events), so that AG-UI
//! front ends can read the events. The thread is the team. The state is the document in [`state_snapshot`], transferred
//! by `STATE_SNAPSHOT` and `STATE_DELTA`. Events without an AG-UI counterpart are `CUSTOM`, with the names in
//! [`CUSTOM`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{MemberName, Revision, RoleName, RunId, TeamId};

pub mod state_snapshot;

/// A `CUSTOM` event: its name, its value, and its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomEvent {
    pub name: &'static str,
    pub value: &'static str,
    pub meaning: &'static str,
}

/// Every `CUSTOM` event. `events --help` prints this list.
pub const CUSTOM: [CustomEvent; 12] = [
    custom(
        "message",
        "{id, from, to, text, urgent, reply_to, summary}",
        "a message was accepted; `to` lists its recipients",
    ),
    custom(
        "messages_read",
        "{messages}",
        "this member (the user if none is named) has read these messages",
    ),
    custom(
        "task_refused",
        "{task, reason, refusals}",
        "a hook refused the completion of the task",
    ),
    custom(
        "usage",
        "{input, output, cached, micro_usd, unpriced}",
        "tokens and money that this member's model has spent so far",
    ),
    custom(
        "files_changed",
        "{files}",
        "this member changed these files, which no member had changed before in this run",
    ),
    custom(
        "permission",
        "{request, state, ...}",
        "`pending` with the `call`, `allowed` or `denied` with `by`, or `withdrawn`; `allowed_in_agent` if the user decided \
         in the agent's own terminal interface",
    ),
    custom(
        "mode",
        "{mode}",
        "the user changed the permission mode of this member (the team if none is named)",
    ),
    custom(
        "budget",
        "{measure, standing}",
        "the state of a limit: `within`, `warned` or `spent`",
    ),
    custom(
        "memory",
        "{key, value}",
        "the value of this key in the team's memory was set",
    ),
    custom(
        "coordinator_decision",
        "{member | done | unclear, text, round}",
        "the reply of the lead's model in a team that works in rounds",
    ),
    custom(
        "idle",
        "null",
        "all members are idle, and the lead is notified",
    ),
    custom(
        "output",
        "{task, text}",
        "lines that this member printed or shows; never stored",
    ),
];

const fn custom(name: &'static str, value: &'static str, meaning: &'static str) -> CustomEvent {
    CustomEvent {
        name,
        value,
        meaning,
    }
}

/// One event with its team, member and run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Envelope {
    pub team_id: TeamId,
    /// `member@team`; `None`: the event belongs to no member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_name: Option<RoleName>,
    /// The run that was under way when the event occurred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    pub event: AgUi,
    /// The revision of the stored event; several envelopes can come from one stored event. `None`: the event is not
    /// stored, and a subscriber that resumes does not receive it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
}

/// An event of the AG-UI protocol. Timestamps are Unix time in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(
    tag = "type",
    rename_all = "SCREAMING_SNAKE_CASE",
    rename_all_fields = "camelCase"
)]
pub enum AgUi {
    RunStarted {
        thread_id: TeamId,
        run_id: RunId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp: Option<u64>,
    },
    RunFinished {
        thread_id: TeamId,
        run_id: RunId,
        /// In `events --json`: `{"final_answer": …}`. In `run --events` and in the library's stream of a run: the
        /// document that `run --json` prints.
        result: Value,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp: Option<u64>,
    },
    RunError {
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp: Option<u64>,
    },
    StepStarted {
        step_name: String,
        /// The member that works in this round. `member` and `round` are not part of AG-UI.
        member: MemberName,
        round: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp: Option<u64>,
    },
    StepFinished {
        step_name: String,
        member: MemberName,
        round: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp: Option<u64>,
    },
    TextMessageStart {
        message_id: String,
        role: Speaker,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp: Option<u64>,
    },
    TextMessageContent {
        message_id: String,
        /// Never empty.
        delta: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp: Option<u64>,
    },
    TextMessageEnd {
        message_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp: Option<u64>,
    },
    ToolCallStart {
        tool_call_id: String,
        tool_call_name: String,
        /// The text message of the same model reply, if the reply had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent_message_id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp: Option<u64>,
    },
    ToolCallArgs {
        tool_call_id: String,
        delta: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp: Option<u64>,
    },
    ToolCallEnd {
        tool_call_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp: Option<u64>,
    },
    ToolCallResult {
        message_id: String,
        tool_call_id: String,
        content: String,
        role: Speaker,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp: Option<u64>,
    },
    StateSnapshot {
        snapshot: state_snapshot::StateSnapshot,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp: Option<u64>,
    },
    StateDelta {
        /// The operations of a JSON Patch (RFC 6902).
        delta: Vec<state_snapshot::Operation>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp: Option<u64>,
    },
    Custom {
        name: String,
        value: Value,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp: Option<u64>,
    },
}

/// The author of a message, in AG-UI's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    Assistant,
    Tool,
}
