//! Views of teams, members, tasks and messages for clients. Public through `--json`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::Engine;
use crate::goal::GoalView;
use crate::id::{
    Generation, LaunchId, MemberName, MessageId, Party, RequestId, Revision, RoleName, RunId,
    TaskId, TeamId, TeamName,
};
use crate::placement::Placement;
use crate::spec::{ClaimPolicy, Colour, Notify};
use crate::value::{Effort, Mode};

pub use crate::goal::RunState;
pub use crate::value::{ExpectedReply, TaskCounts, Usage};

/// One member, as `ps` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberView {
    pub name: MemberName,
    pub role: RoleName,
    pub lead: bool,
    #[serde(default)]
    pub claim: ClaimPolicy,
    pub engine: Engine,
    /// The model that answers, once the agent runs; before that, the configured model.
    pub model: Option<String>,
    /// How full the window of the model is. `None`: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<ContextView>,
    /// How much the member's model thinks now. `None`: the member has no model, or its model receives no effort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
    /// The calls that the member's program makes without asking, in words. `None`: agent-team decides every call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unasked: Option<String>,
    /// Usage of all launches so far.
    #[serde(default)]
    pub usage: Usage,
    /// Time with a ready worker, over all launches, in milliseconds.
    #[serde(default)]
    pub up_ms: u64,
    /// Time in a turn or on a task, without the time in which a request of the member waits for a decision or a limit
    /// blocks the member.
    #[serde(default)]
    pub working_ms: u64,
    /// Tasks completed.
    #[serde(default)]
    pub completed: u64,
    pub colour: Colour,
    pub placement: Placement,
    pub state: MemberState,
    /// The reason why the member is blocked, if its state is `waiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// One sentence that explains the state.
    pub why: String,
    /// The member's permission mode, if it differs from the team's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// How long the member has been in this state, in milliseconds.
    pub for_ms: u64,
    pub pid: Option<u32>,
    pub launch: Option<LaunchId>,
    pub task: Option<TaskId>,
    /// The terminal's own id, such as `%3`.
    pub pane: Option<String>,
    /// The member should have a pane and continues without one.
    #[serde(default)]
    pub lost_pane: bool,
    /// The worker is ready but has no connection to this supervisor, for example after a restart of the supervisor.
    #[serde(default)]
    pub disconnected: bool,
    pub unread: u32,
    /// Pending permission requests.
    pub requests: u32,
    /// The member's open question to the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks_user: Option<MessageId>,
    /// The newest message from the member that the user has not read, unless it is the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrote_user: Option<MessageId>,
    /// The state of the plan, for a member that must have a plan approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanView>,
    /// Restarts that currently count against the limit.
    pub restarts: u32,
    /// How the member's last finished task ended, in one line.
    pub last_result: Option<String>,
}

/// How full the window of a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ContextView {
    /// The approximate number of tokens of the conversation.
    pub tokens: u64,
    /// The size of the window, in tokens.
    pub window: u64,
}

impl ContextView {
    /// `None`: a window of this size is unknown or unlimited.
    pub fn new(tokens: u64, window: u64) -> Option<Self> {
        let is_known = (1..u64::MAX).contains(&window);
        is_known.then_some(Self { tokens, window })
    }

    /// The used part of the window, in percent.
    pub fn percent(&self) -> u64 {
        let percent = u128::from(self.tokens) * 100 / u128::from(self.window.max(1));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }

    /// The use of the window, such as `context 62 %`, for displays with little room. `None` while the window is less
    /// than half full.
    pub fn label(&self) -> Option<String> {
        let percent = self.percent();
        (percent >= 50).then(|| format!("context {percent} %"))
    }
}

/// The state of a member's last plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PlanView {
    /// No plan for the current work.
    Missing {
        /// The number of the previous plan; 0 if there is no previous plan.
        number: u64,
    },
    Waiting {
        number: u64,
        request: RequestId,
    },
    SentBack {
        number: u64,
        by: Party,
        reason: String,
    },
    /// The member may change things.
    Approved {
        number: u64,
    },
    #[serde(other)]
    Unknown,
}

/// A member's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    Planned,
    Launching,
    Idle,
    Working,
    /// Blocked for the reason in `waiting`.
    Waiting,
    /// The member does not answer frames. The supervisor reports this state, and never kills a member because of it.
    Unresponsive,
    Draining,
    Cooling,
    Held,
    Stopped,
    #[serde(other)]
    Unknown,
}

/// The reason why a member that has work is blocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Waiting {
    /// A limit is used up; the text names it and how to continue.
    Budget { why: String },
    /// The model's server is overloaded or unreachable; the next attempt is at `until`.
    RateLimit {
        /// Unix time in milliseconds.
        until: u64,
        why: String,
    },
    /// The user's answer to the question in this message.
    Answer { message: MessageId },
    /// A message or tasks of other members, which the model chose to wait for.
    Reply {
        /// The subject of the wait, such as "tasks T-3, T-4" or "a message".
        what: String,
    },
    /// A slow start of an agent in its own terminal interface, which may show a dialog that only the user can answer.
    Dialog {
        /// The event that ends the wait, and the command that shows the terminal.
        what: String,
    },
    /// A permission request of this member.
    Permission { request: RequestId },
    /// The decision about the member's plan.
    Plan { request: RequestId, number: u64 },
    #[serde(other)]
    Unknown,
}

/// One team, as `ps` and `team show` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TeamView {
    pub team: TeamId,
    pub name: TeamName,
    pub project: PathBuf,
    pub state: TeamState,
    /// Why the state of the team cannot be stored: its files are gone, or its disk failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_error: Option<String>,
    pub revision: Revision,
    /// The permission mode. `None`: the team was never brought up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    pub members: Vec<MemberView>,
    pub tasks: TaskCounts,
    /// Usage of all members, including former ones.
    #[serde(default)]
    pub usage: Usage,
    /// Time with any member up, in milliseconds.
    #[serde(default)]
    pub up_ms: u64,
    /// Time with any member working.
    #[serde(default)]
    pub working_ms: u64,
    /// Messages to the user that the user has not read.
    #[serde(default)]
    pub unread: u32,
    /// The chosen placement, and the reason.
    pub placement: String,
    /// The roles that `member/spawn` accepts.
    #[serde(default)]
    pub roles: Vec<RoleView>,
    /// The newest goal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<GoalView>,
    #[serde(default, skip_serializing_if = "Notify::is_default")]
    pub notify: Notify,
}

/// One role of a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RoleView {
    pub name: RoleName,
    /// One line; may be empty.
    pub description: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TeamState {
    /// Some member is not stopped.
    Up,
    Down,
}

/// One team on disk, as `team list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TeamEntry {
    pub team: TeamId,
    pub name: TeamName,
    pub project: PathBuf,
    pub state: TeamState,
    /// As in `TeamView`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_error: Option<String>,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskView {
    pub id: TaskId,
    pub key: String,
    pub title: String,
    pub description: String,
    pub state: TaskState,
    /// The owner of the current claim, or of the claim that completed or failed the task.
    pub owner: Option<Party>,
    pub generation: Generation,
    pub role: Option<RoleName>,
    #[serde(rename = "for")]
    pub assignee: Option<MemberName>,
    pub after: Vec<TaskId>,
    /// The reverse of `after`: the tasks that depend on this task.
    pub blocks: Vec<TaskId>,
    /// Some task in `after` is not completed.
    pub blocked: bool,
    pub priority: i32,
    pub labels: Vec<String>,
    pub files: Vec<String>,
    pub run: Option<String>,
    pub verify: Option<String>,
    pub rerun: bool,
    /// Describes the work while it is in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_form: Option<String>,
    /// The creator's own data: a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    pub attempts: u32,
    pub created_by: Party,
    /// Unix time in milliseconds.
    pub created_at: u64,
    pub changed_at: u64,
    pub revision: Revision,
    /// The result, the reason for the failure, or the note of the last release.
    pub result: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    Pending,
    InProgress,
    Completed,
    Failed,
    Cancelled,
    #[serde(other)]
    Unknown,
}

/// One message to one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MessageView {
    pub id: MessageId,
    pub from: Party,
    pub to: Party,
    pub text: String,
    pub state: MessageState,
    pub urgent: bool,
    /// The message that this message answers.
    #[serde(default)]
    pub reply_to: Option<MessageId>,
    /// A short summary of the text, by its sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Unix time in milliseconds.
    pub at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// The message is stored, and in the recipient's inbox.
    Accepted,
    /// The message was sent to the recipient's process, which has not acknowledged it. A message to the user: the user
    /// has not read it.
    Delivered,
    Read,
    #[serde(other)]
    Unknown,
}

/// One goal of the lead, and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunView {
    pub run: RunId,
    pub goal: String,
    pub state: RunState,
    /// The lead's answer, once the run has ended.
    pub answer: Option<String>,
    /// Why the run ended without an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The number of rounds so far, in a team that works in rounds; `run/rounds` lists them.
    #[serde(default)]
    pub rounds: u32,
    /// How much the models of all members think until the run ends. `None`: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
    /// Unix time in milliseconds.
    pub started_at: u64,
    pub ended_at: Option<u64>,
}

/// One round of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RoundView {
    /// From 1.
    pub round: u32,
    pub state: RoundState,
    /// The member of the round; `None` if the lead's model named no member.
    pub member: Option<MemberName>,
    pub task: Option<TaskId>,
    /// The result, the reason why there is no result, or the fault of the reply.
    pub output: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RoundState {
    UnderWay,
    Completed,
    Failed,
    /// The reply of the lead's model could not be parsed or followed.
    Unclear,
    /// The reply was the final answer.
    Answered,
    #[serde(other)]
    Unknown,
}

/// The question that a run in rounds asks the lead's model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct QuestionView {
    pub run: RunId,
    pub goal: String,
    /// The round that the reply opens, from 1.
    pub round: u32,
    #[serde(rename = "wants")]
    pub expected_reply: ExpectedReply,
}

/// One object that `down` terminated, closed, removed or left, and the outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Receipt {
    pub kind: ReceiptKind,
    /// A pid with its member, the id of a pane, or a path.
    pub what: String,
    #[serde(rename = "fate")]
    pub outcome: ReceiptOutcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReceiptKind {
    Process,
    Pane,
    Socket,
    File,
    Worktree,
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReceiptOutcome {
    Ended,
    Closed,
    Removed,
    Kept,
    Survived,
    #[serde(other)]
    Unknown,
}

/// A diagnostic view of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SupervisorView {
    pub pid: u32,
    pub build: String,
    pub protocol: u32,
    pub socket: PathBuf,
    pub log: PathBuf,
    /// How long the supervisor has been running, in milliseconds.
    pub up_ms: u64,
    pub resident_bytes: u64,
    pub connections: u32,
    /// Open file descriptors, and their limit.
    #[serde(default)]
    pub descriptors: u32,
    #[serde(default)]
    pub descriptors_max: u32,
    pub teams: Vec<DriverView>,
}

/// A diagnostic view of one team's driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DriverView {
    pub team: TeamId,
    pub project: PathBuf,
    pub revision: Revision,
    /// Inputs in the driver's queue.
    pub inputs: u32,
    /// Records in the current commit.
    pub committing: u32,
    pub subscribers: u32,
    /// Commits of this driver so far.
    #[serde(default)]
    pub commits: u64,
    pub last_commit: Option<CommitView>,
    /// `stored`, or why nothing can be stored now.
    pub storage: String,
    pub members: Vec<MemberView>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CommitView {
    pub revision: Revision,
    pub records: u32,
    /// Duration of the commit, in microseconds.
    pub took_us: u64,
    /// Age of the commit, in milliseconds.
    pub ago_ms: u64,
}
