//! The journal's events, reduced to the fields that the event stream uses. Read only by the event stream.
//!
//! The core owns the format. Events that are not listed here mean nothing to subscribers.

use agent_team_protocol::view::Usage;
use agent_team_protocol::{
    Generation, MemberName, MessageId, Party, RequestId, RoleName, RunId, TaskId,
};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum JournalEvent {
    MemberAdded {
        plan: MemberFields,
    },
    MemberChanged {
        plan: MemberFields,
    },
    MemberRemoved {
        member: MemberName,
    },
    MemberWanted {
        member: MemberName,
    },
    LaunchStarted {
        member: MemberName,
    },
    LaunchReady {
        member: MemberName,
    },
    LaunchDraining {
        member: MemberName,
    },
    LaunchEnding {
        member: MemberName,
        reason: String,
    },
    LaunchEnded {
        member: MemberName,
        next: Next,
    },
    MemberParked {
        member: MemberName,
        next: Next,
    },

    TaskAdded {
        task: TaskId,
        plan: TaskFields,
        created_by: Party,
    },
    TaskChanged {
        task: TaskId,
        plan: TaskFields,
    },
    TaskClaimed {
        task: TaskId,
        owner: Party,
        generation: Generation,
        attempts: u32,
    },
    TaskReleased {
        task: TaskId,
        note: String,
    },
    TaskCompleted {
        task: TaskId,
        result: String,
    },
    TaskRefused {
        task: TaskId,
        reason: String,
        refusals: u32,
    },
    TaskFailed {
        task: TaskId,
        reason: String,
    },
    TaskCancelled {
        task: TaskId,
    },
    TaskRetried {
        task: TaskId,
    },

    MessageAccepted {
        message: MessageId,
        from: Party,
        to: Vec<Party>,
        text: String,
        urgent: bool,
        #[serde(default)]
        reply_to: Option<MessageId>,
        #[serde(default)]
        note: MessageNote,
    },
    MessagesRead {
        member: MemberName,
        messages: Vec<MessageId>,
    },
    UserRead {
        messages: Vec<MessageId>,
    },

    RunStarted {
        run: RunId,
        memory: Vec<(String, String)>,
    },
    RunFinished {
        run: RunId,
        answer: String,
    },
    RunFailed {
        run: RunId,
        failure: String,
        reason: String,
    },
    CoordinatorDecided {
        round: u32,
        decision: Decision,
        text: String,
    },
    RoundStarted {
        round: u32,
        member: MemberName,
    },
    RoundEnded {
        round: u32,
        member: MemberName,
    },
    RunAbandoned {
        run: RunId,
    },
    RunIdle {},
    TranscriptGrown {
        member: MemberName,
        #[serde(rename = "mind")]
        summary: TranscriptSummary,
    },
    Remembered {
        key: String,
        value: String,
    },

    BudgetStands {
        #[serde(default)]
        member: Option<MemberName>,
        measure: String,
        standing: String,
    },

    RequestAsked {
        request: RequestId,
        member: MemberName,
        call: String,
        #[serde(default)]
        plan: Option<Proposed>,
    },
    RequestAllowed {
        request: RequestId,
        by: Party,
        scope: String,
        #[serde(default)]
        rules: Vec<String>,
    },
    RequestDenied {
        request: RequestId,
        by: Party,
        reason: String,
    },
    RequestWithdrawn {
        request: RequestId,
    },

    /// An event without a meaning for subscribers, or one that this build does not know.
    #[serde(other)]
    Unlisted,
}

impl JournalEvent {
    /// Reads `{"kind": …, "data": {…}}`.
    pub(super) fn read(text: &str) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Tagged {
            kind: String,
            data: Map<String, Value>,
        }
        // `kind` and the fields are merged into one object: in an internally tagged enum serde's `other` variant
        // ignores all fields, in an adjacently tagged one it would refuse `data`.
        let Tagged { kind, mut data } = serde_json::from_str(text)?;
        data.insert("kind".to_owned(), Value::String(kind));
        Self::deserialize(Value::Object(data))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Proposed {
    pub(super) number: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Decision {
    Member(MemberName),
    Done,
    Unclear(String),
}

#[derive(Debug, Deserialize)]
pub(super) struct MemberFields {
    pub(super) name: MemberName,
    pub(super) role: RoleName,
    pub(super) lead: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Next {
    Launch,
    Cool {},
    Hold { reason: String },
    Stop,
}

#[derive(Debug, Deserialize)]
pub(super) struct TaskFields {
    pub(super) key: String,
    pub(super) title: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) priority: i32,
    #[serde(default)]
    pub(super) labels: Vec<String>,
    #[serde(default)]
    pub(super) after: Vec<TaskId>,
    #[serde(default)]
    pub(super) role: Option<RoleName>,
    #[serde(default, rename = "for")]
    pub(super) assignee: Option<MemberName>,
    #[serde(default)]
    pub(super) files: Vec<String>,
    #[serde(default)]
    pub(super) run: Option<String>,
    #[serde(default)]
    pub(super) verify: Option<String>,
    #[serde(default)]
    pub(super) active_form: Option<String>,
    /// The text of a JSON object.
    #[serde(default)]
    pub(super) metadata: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct MessageNote {
    #[serde(default)]
    pub(super) summary: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TranscriptSummary {
    #[serde(default)]
    pub(super) spent: Usage,
}

/// Parses a stored text as JSON; a text that is not JSON becomes a JSON string.
pub(super) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
