//! What a stored event is about, as far as clients act on it. Called by clients that follow or wait; pure.
//!
//! The core owns the format. In all its events, the same field names the same kind of object.

use agent_team_protocol::notification::EventNotice;
use agent_team_protocol::{MemberName, MessageId, Party, TaskId};
use serde::Deserialize;

/// The kind of a stored event, and what it names.
#[derive(Debug, Deserialize)]
pub struct EventSubject {
    pub kind: String,
    #[serde(default)]
    pub data: SubjectData,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SubjectData {
    pub task: Option<TaskId>,
    pub member: Option<MemberName>,
    pub message: Option<MessageId>,
    /// Sender of a message.
    pub from: Option<Party>,
    pub to: Vec<Party>,
    pub reply_to: Option<MessageId>,
    pub text: String,
}

impl EventSubject {
    /// `None` if this build cannot read the event.
    pub fn of(notice: &EventNotice) -> Option<Self> {
        serde_json::from_str(notice.event.get()).ok()
    }
}
