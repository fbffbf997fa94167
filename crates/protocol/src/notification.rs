//! Frames that want no answer.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::Refusal;
use crate::id::{
    Generation, LaunchId, MemberName, MessageId, Party, RequestId, Revision, TaskId, TeamId,
};
use crate::spec::FileDigest;
use crate::view::Waiting;

/// A notification's name and parameters.
pub trait Notification: Serialize + for<'de> Deserialize<'de> {
    const NAME: &'static str;
}

macro_rules! notifications {
    ($($name:literal => $type:ty,)*) => {
        $(impl Notification for $type {
            const NAME: &'static str = $name;
        })*

        #[cfg(test)]
        pub(crate) fn schemas(
            generator: &mut schemars::SchemaGenerator,
        ) -> Vec<(&'static str, schemars::Schema)> {
            vec![$(($name, generator.subschema_for::<$type>()),)*]
        }
    };
}

notifications! {
    // Supervisor to member.
    "task/start" => Assignment,
    "task/abandon" => Abandon,
    "message/deliver" => Deliver,
    "member/stop" => StopMember,
    "member/allowance" => Allowance,
    "pane/show" => ShowPane,
    "member/inform" => Inform,
    // Member to supervisor.
    "task/output" => TaskOutput,
    "task/session" => TaskSession,
    "member/pane_lost" => PaneLost,
    "pane/shown" => PaneShown,
    "member/waits" => MemberWaits,
    // Supervisor to subscriber.
    "event" => EventNotice,
    "event/transient" => TransientNotice,
    // Supervisor to anybody.
    "goodbye" => Goodbye,
}

/// A task that the member now owns and is to work on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Assignment {
    pub task: TaskId,
    pub generation: Generation,
    pub title: String,
    #[serde(default)]
    pub description: String,
    /// A task without one cannot be done by the command engine, and fails.
    #[serde(default)]
    pub run: Option<String>,
    #[serde(default)]
    pub verify: Option<String>,
    /// 1 for the first run.
    pub attempt: u32,
    /// The scripts that `run` and `verify` start, as the user trusted them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileDigest>,
}

/// The member no longer owns this claim: what runs for it ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Abandon {
    pub task: TaskId,
    pub generation: Generation,
    pub reason: String,
}

/// Messages for the member, in order. Each is offered again on every connect until it is acknowledged as read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Deliver {
    pub messages: Vec<DeliveredMessage>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeliveredMessage {
    pub id: MessageId,
    pub from: Party,
    pub text: String,
    pub urgent: bool,
    /// The message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The sender waits for a reply.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wants_reply: bool,
    /// Offered before, to this member's earlier launch or connection.
    pub redelivered: bool,
}

/// The member is to end: finish within the grace, say `member/exit`, exit. It is killed after.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StopMember {
    pub grace_ms: u64,
    pub reason: String,
}

/// News of a teammate's request, for the lead's pane and its next step.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Inform {
    /// One line, as nothing but text.
    pub text: String,
    /// The request that the news is about. Absent only from builds before this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// It waits for a decision, and the lead may deny it: the news ends the lead's `wait`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
    /// The pending request, if the lead may also allow it: the news wakes an idle lead, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decide: Option<RequestId>,
}

/// Whether a member may ask its model. Of two over one connection that of the later revision holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Allowance {
    pub as_of: Revision,
    /// Not before this has changed, which is said to a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}

/// The member is to show itself on this terminal, which its holder keeps open, and on no other any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ShowPane {
    /// The terminal's device.
    pub terminal: PathBuf,
    /// Of the holder: when it ends, the terminal is somebody else's again.
    pub pid: u32,
    /// As in [`TaskSession`].
    pub start_time: u64,
    #[serde(rename = "as")]
    pub hold: Hold,
}

/// What a terminal is that a holder lends to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// The member's own pane.
    Pane,
    /// A person's own terminal, which a key gives back to them.
    Attached,
    /// The same, and no other key means anything.
    #[serde(other)]
    ReadOnly,
}

/// Text that a task printed, or that a member said. Transient: shown live, never stored by the supervisor.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskOutput {
    /// `None`: it belongs to no task.
    #[serde(default)]
    pub task: Option<TaskId>,
    pub text: String,
    /// What a model said meanwhile, in order; `text` shows the same to a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
}

/// A piece of what a member's model says. Its ids are unique among that member's; any piece may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Said {
    Text {
        message: String,
        delta: String,
    },
    TextEnded {
        message: String,
    },
    /// A call begins; its arguments follow, then its end, and later what it returned.
    Call {
        call: String,
        tool: String,
        /// The text that the same answer said.
        #[serde(default)]
        message: Option<String>,
    },
    Input {
        call: String,
        delta: String,
    },
    CallEnded {
        call: String,
    },
    Returned {
        call: String,
        text: String,
    },
    /// Lines that are neither words nor a call's: who speaks to the member, what begins and ends, what was changed.
    Lines {
        text: String,
        /// They are a unified diff.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        diff: bool,
    },
    #[serde(other)]
    Unknown,
}

/// The session that a task's command leads, so that its tree can be ended without its worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskSession {
    pub task: TaskId,
    pub pid: u32,
    /// Clock ticks after boot, as the kernel gives it: with the pid, the process's identity.
    pub start_time: u64,
}

/// The member's pane is gone; it goes on headless.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PaneLost {}

/// The member shows itself on the terminal that this process holds open. Said again on every connect.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PaneShown {
    pub pid: u32,
    /// As in [`TaskSession`].
    pub start_time: u64,
}

/// What the member waits for from now on, with something to do. Transient: shown live, never stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberWaits {
    /// `None`: it goes on.
    #[serde(default)]
    pub on: Option<Waiting>,
}

/// A durable event, after its commit.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EventNotice {
    pub team: TeamId,
    pub revision: Revision,
    /// Unix time in milliseconds.
    pub at: u64,
    /// `{"kind": …, …}`, as in the journal.
    #[cfg_attr(test, schemars(with = "serde_json::Value"))]
    pub event: Box<RawValue>,
}

/// Something to show now that is not stored; `after` is the revision it follows. With neither `text` nor `said`: the
/// member's view is another one, such as by what it waits for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TransientNotice {
    pub team: TeamId,
    pub after: Revision,
    pub member: MemberName,
    #[serde(default)]
    pub task: Option<TaskId>,
    pub text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
    /// Unix time in milliseconds.
    #[serde(default)]
    pub at: u64,
}

/// The last frame of a connection that the supervisor closes on purpose.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Goodbye {
    pub reason: GoodbyeReason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Refusal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum GoodbyeReason {
    /// A new supervisor follows: wait 2 s, then start one.
    Restarting,
    /// Nobody restarts it; the next command does.
    Stopped,
    /// This connection was replaced, refused or cut off: see `error`.
    Closed,
    #[serde(other)]
    Unknown,
}

/// Names a launch in `member/ping`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Ping {
    pub launch: LaunchId,
}
