//! Notifications: frames without an answer.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Refusal;
use crate::event::ClientEvent;
use crate::goal::GoalView;
use crate::id::{
    Generation, LaunchId, MemberName, MessageId, Party, RequestId, Revision, TaskId, TeamId,
};
use crate::spec::FileDigest;
use crate::value::{Effort, Mode};
use crate::view::{ContextView, Waiting};

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
    "member/interrupt" => InterruptTurn,
    "member/compact" => CompactConversation,
    "member/run_line" => TypedShellLine,
    "member/send_prompt" => SendPrompt,
    "member/allowance" => Allowance,
    "pane/show" => ShowPane,
    "member/inform" => RequestNotice,
    "goal/ended" => GoalEnded,
    "pane/notify" => NotifyUser,
    // Member to supervisor.
    "task/output" => TaskOutput,
    "task/session" => TaskSession,
    "member/pane_lost" => PaneLost,
    "pane/shown" => PaneShown,
    "pane/too_small" => PaneTooSmall,
    "pane/grown" => PaneGrown,
    "member/waits" => MemberWaits,
    "member/model" => MemberModel,
    "member/screen" => MemberScreen,
    "member/prompts" => MemberPrompts,
    // Supervisor to subscriber.
    "event" => EventNotice,
    "event/transient" => TransientNotice,
    // Supervisor to every connection.
    "goodbye" => Goodbye,
}

/// A task that the member now owns and must work on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Assignment {
    pub task: TaskId,
    pub generation: Generation,
    pub title: String,
    #[serde(default)]
    pub description: String,
    /// The shell line that does the task. The command engine fails a task without this line.
    #[serde(default)]
    pub run: Option<String>,
    #[serde(default)]
    pub verify: Option<String>,
    /// 1 for the first claim of the task.
    pub attempt: u32,
    /// The scripts that `run` and `verify` start, with the content that the user trusted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileDigest>,
}

/// The member no longer owns this claim: the worker terminates the programs of the task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Abandon {
    pub task: TaskId,
    pub generation: Generation,
    pub reason: String,
}

/// Messages for the member, in order. Each is offered again on every connect until the member acknowledges it.
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
    /// The message that this message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The sender waits for a reply.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wants_reply: bool,
    /// The message starts no turn: an idle member reads it in its next turn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub can_wait: bool,
    /// Images and PDFs that the text names may be outside the project: the user typed the text on this machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attach_outside: bool,
    /// The message was offered before, to an earlier launch or connection of this member.
    pub redelivered: bool,
}

/// The member must stop: the worker finishes within the grace period, sends `member/exit`, and exits. Otherwise it is
/// killed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StopMember {
    pub grace_ms: u64,
    pub reason: String,
}

/// The user has interrupted the current turn: see `member/interrupt`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InterruptTurn {}

/// The user has typed a shell line for the member: see `member/run_line`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TypedShellLine {
    pub line: String,
}

/// The user asks the member to compact its conversation: see `member/compact`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CompactConversation {}

/// A change of a teammate's request, for the lead's pane and the lead's next step.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RequestNotice {
    /// One line of plain text.
    pub text: String,
    /// The request that changed. Older builds omit it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// The request is pending and the lead may deny it. The notification ends the lead's `wait`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
    /// The pending request, if the lead may also allow it. The notification then also wakes an idle lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decide: Option<RequestId>,
    /// Set if the permission mode of the recipient has changed: the new mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

/// The goal of the team has ended: the pane of the lead shows it. Not sent if the lead's own call ended the goal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GoalEnded {
    pub goal: GoalView,
    /// The whole answer, or the reason why there is no answer.
    pub text: String,
}

/// Notify the user through the terminal that shows the member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NotifyUser {
    /// One line of plain text.
    pub text: String,
    /// Show a desktop notification in addition to the bell.
    pub desktop: bool,
}

/// Whether a member may call its model, and with which effort. On one connection, the allowance with the latest
/// revision is valid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Allowance {
    pub as_of: Revision,
    /// Why the member must wait, as text for the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// How much the models of the member think for the goal under way. `None`: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
}

/// Show the member on this terminal and on no other. The attach helper keeps the terminal open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ShowPane {
    /// The terminal's device.
    pub terminal: PathBuf,
    /// The attach helper's pid: when the attach helper exits, the terminal must no longer be used.
    pub pid: u32,
    /// As in [`TaskSession`].
    pub start_time: u64,
    #[serde(rename = "as")]
    pub attachment: Attachment,
}

/// How an attach helper lends its terminal to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Attachment {
    /// The member's own pane.
    Pane,
    /// The user's own terminal; a key detaches from it.
    Attached,
    /// Like `Attached`, and all other keys are ignored.
    #[serde(other)]
    ReadOnly,
}

/// Output of a task or of a member's model. Transient: shown live, never stored by the supervisor.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskOutput {
    /// `None`: the output belongs to no task.
    #[serde(default)]
    pub task: Option<TaskId>,
    pub text: String,
    /// Output of the model, in order; `text` contains the same output for users.
    #[serde(default, rename = "said", skip_serializing_if = "Vec::is_empty")]
    pub fragments: Vec<OutputFragment>,
}

/// A fragment of a model's output. Ids are unique within the member; any fragment can be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OutputFragment {
    Text {
        message: String,
        delta: String,
    },
    TextEnded {
        message: String,
    },
    /// The model's thinking before its answer. A thought has no end fragment: the next fragment of another kind ends
    /// it.
    Thought {
        message: String,
        delta: String,
    },
    /// A call begins. Its arguments follow, then its end, and later its result.
    Call {
        call: String,
        tool: String,
        /// The text message of the same reply.
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
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        failed: bool,
    },
    /// Other lines: messages to the member, the start and end of work, changes to files.
    Lines {
        text: String,
        /// The lines are a unified diff.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        diff: bool,
    },
    #[serde(other)]
    Unknown,
}

/// The process session of a command, so that the supervisor can terminate its tree without the worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskSession {
    /// `None`: the user has typed the command in the member's pane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    pub pid: u32,
    /// The start time of the process as the kernel reports it: clock ticks after boot on Linux, microseconds of Unix
    /// time on macOS. Together with the pid it identifies the process.
    pub start_time: u64,
}

/// The member lost its pane and continues headless.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PaneLost {}

/// The member's pane is smaller than the minimum after its terminal shrank.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PaneTooSmall {}

/// The member's pane has more columns or rows than before, so its window may have room for more panes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PaneGrown {}

/// The member shows itself on the terminal that the process `pid` holds open. Repeated on every connect.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PaneShown {
    pub pid: u32,
    /// As in [`TaskSession`].
    pub start_time: u64,
}

/// The reason why a member that has work is blocked. Transient: shown live, never stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberWaits {
    /// `None`: the member is no longer blocked.
    #[serde(default)]
    pub on: Option<Waiting>,
}

/// The model that answers for an agent, and how full the window of this model is. Transient: shown live, never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberModel {
    /// `provider/model`: the configured model, or the fallback that has replaced it.
    pub model: String,
    /// `None`: the window is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<ContextView>,
}

/// The screen of a member whose engine shows a terminal program. Transient: the supervisor keeps the newest one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberScreen {
    pub columns: u16,
    pub rows: u16,
    /// The rows from the top. A row contains characters and two kinds of sequences: `ESC [ 0;… m` sets exactly these
    /// colours and attributes, and `ESC [ … G` names the column of the next character. Rows at the end can be missing.
    pub lines: Vec<String>,
}

/// The prompts of an agent's MCP servers, sent when they have changed. Transient: the supervisor keeps the newest
/// prompts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberPrompts {
    pub prompts: Vec<PromptView>,
}

/// A prompt of an MCP server, as a slash command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PromptView {
    /// The name without the slash, such as `github:review`.
    pub name: String,
    /// The arguments in the help, such as `NUMBER [FOCUS]`; may be empty.
    pub arguments: String,
    /// One line.
    pub description: String,
}

/// The user has called a prompt in another client: the worker gets the text of the prompt from the MCP server, and
/// sends the text as the user's message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SendPrompt {
    pub name: String,
    pub words: Vec<String>,
}

/// A durable event, after its commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EventNotice {
    pub team: TeamId,
    pub revision: Revision,
    /// Unix time in milliseconds.
    pub at: u64,
    #[serde(deserialize_with = "ClientEvent::readable")]
    pub event: ClientEvent,
}

/// A transient event; `after` is the revision that it follows. Without `text` and `fragments`: the member's view
/// changed, for example because the member is blocked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TransientNotice {
    pub team: TeamId,
    pub after: Revision,
    pub member: MemberName,
    #[serde(default)]
    pub task: Option<TaskId>,
    pub text: String,
    #[serde(default, rename = "said", skip_serializing_if = "Vec::is_empty")]
    pub fragments: Vec<OutputFragment>,
    /// The user is notified of an event of this member, in the terminals that show the team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifyUser>,
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

impl Goodbye {
    /// The connection's team was deleted.
    pub const CLOSED: Self = Self {
        reason: GoodbyeReason::Closed,
        error: None,
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum GoodbyeReason {
    /// A new supervisor follows: wait 2 s, then start a supervisor if none is running.
    Restarting,
    /// The supervisor was stopped. Workers must not start another supervisor; the next command starts one.
    Stopped,
    /// This connection was replaced, refused or cut off: see `error`.
    Closed,
    #[serde(other)]
    Unknown,
}

/// Identifies the launch of a `member/ping`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Ping {
    pub launch: LaunchId,
}
