//! What is: the forms in which clients are shown teams, members, tasks and messages. Public by `--json`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{
    Generation, LaunchId, MemberName, MessageId, Party, RequestId, Revision, RoleName, RunId,
    TaskId, TeamId, TeamName,
};
use crate::spec::{Colour, Engine};

/// One member, as `ps` shows her.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberView {
    pub name: MemberName,
    pub role: RoleName,
    pub lead: bool,
    pub engine: Engine,
    pub model: Option<String>,
    /// Spent so far, by all of its launches.
    #[serde(default)]
    pub usage: Usage,
    /// With a worker that is ready, in milliseconds, over all of its launches.
    #[serde(default)]
    pub up_ms: u64,
    /// In a turn or on a task.
    #[serde(default)]
    pub working_ms: u64,
    /// Tasks completed.
    #[serde(default)]
    pub completed: u64,
    pub colour: Colour,
    pub placement: Placement,
    pub state: MemberState,
    /// What for, of a member that is `waiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// One sentence from facts.
    pub why: String,
    /// How long in this state, in milliseconds.
    pub for_ms: u64,
    pub pid: Option<u32>,
    pub launch: Option<LaunchId>,
    pub task: Option<TaskId>,
    /// The terminal's own id, such as `%3`.
    pub pane: Option<String>,
    /// It is to have one, and goes on without.
    #[serde(default)]
    pub lost_pane: bool,
    /// Its process runs and has no connection to this supervisor: after a crash of the last one, until it is back.
    #[serde(default)]
    pub disconnected: bool,
    pub unread: u32,
    /// Permission requests waiting for a decision.
    pub requests: u32,
    /// The newest message from it that the user has not read: what it asks the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks_user: Option<MessageId>,
    /// Of a member that must plan first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanView>,
    /// Restarts that count against the intensity now.
    pub restarts: u32,
    /// How her last finished task ended, in one line.
    pub last_result: Option<String>,
}

/// What became of the last plan of a member that must plan first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PlanView {
    /// There is none for what it does now.
    Missing {
        /// Of the one before; 0 before the first.
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
    /// It may change something.
    Approved {
        number: u64,
    },
    #[serde(other)]
    Unknown,
}

/// A member's state, as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    Planned,
    Launching,
    Idle,
    Working,
    /// It could go on, but for what `waiting` names.
    Waiting,
    /// Its frames go unanswered. Shown and told; never killed for it.
    Unresponsive,
    Draining,
    Cooling,
    Held,
    Stopped,
    #[serde(other)]
    Unknown,
}

/// What a member waits for that has something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Waiting {
    /// A limit is used up; the sentence says which, and how to go on.
    Budget { why: String },
    /// The model's server is busy or away, and is asked again at `until`.
    RateLimit {
        /// Unix time in milliseconds.
        until: u64,
        why: String,
    },
    /// Others of the team, as its model chose to.
    Reply {
        /// Such as "tasks T-3, T-4" or "a message".
        what: String,
    },
    /// A permission request of its own.
    Permission { request: RequestId },
    /// Somebody's word about its plan.
    Plan { request: RequestId, number: u64 },
    #[serde(other)]
    Unknown,
}

/// Where a member really runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    Tmux,
    Iterm,
    /// In a process of its own, without a terminal.
    Headless,
    /// With others in one process.
    Hosted,
    #[serde(other)]
    Unknown,
}

impl Placement {
    /// As people are told it, after "runs".
    pub fn name(self) -> &'static str {
        match self {
            Self::Tmux => "in tmux",
            Self::Iterm => "in iTerm2",
            Self::Headless => "headless",
            Self::Hosted => "hosted",
            Self::Unknown => "in an unknown place (newer version)",
        }
    }

    /// Whether a member there has a pane, which it can lose.
    pub fn has_panes(self) -> bool {
        match self {
            Self::Tmux | Self::Iterm => true,
            Self::Headless | Self::Hosted | Self::Unknown => false,
        }
    }
}

/// One team, as `ps` and `team show` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TeamView {
    pub team: TeamId,
    pub name: TeamName,
    pub project: PathBuf,
    pub state: TeamState,
    /// Why nothing of the team can be stored any more: its files are gone, or its disk failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_error: Option<String>,
    pub revision: Revision,
    pub members: Vec<MemberView>,
    pub tasks: TaskCounts,
    /// Spent by all members, those who left among them.
    #[serde(default)]
    pub usage: Usage,
    /// With any member up, in milliseconds.
    #[serde(default)]
    pub up_ms: u64,
    /// With any member working.
    #[serde(default)]
    pub working_ms: u64,
    /// Messages to the user that the user has not read.
    #[serde(default)]
    pub unread: u32,
    /// Which placement was chosen, and why.
    pub placement: String,
    /// What `member/spawn` can make.
    #[serde(default)]
    pub roles: Vec<RoleView>,
}

/// One role of a team, for whoever chooses one.
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

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskCounts {
    pub pending: u64,
    pub in_progress: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
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
    /// Of the claim in progress, or of the one that completed or failed the task.
    pub owner: Option<Party>,
    pub generation: Generation,
    pub role: Option<RoleName>,
    #[serde(rename = "for")]
    pub assignee: Option<MemberName>,
    pub after: Vec<TaskId>,
    /// The reverse of `after`: who waits for this one.
    pub blocks: Vec<TaskId>,
    /// Some `after` is not completed.
    pub blocked: bool,
    pub priority: i32,
    pub labels: Vec<String>,
    pub files: Vec<String>,
    pub run: Option<String>,
    pub verify: Option<String>,
    pub rerun: bool,
    /// The work while it is in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_form: Option<String>,
    /// A JSON object of the creator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    pub attempts: u32,
    pub created_by: Party,
    /// Unix time in milliseconds.
    pub created_at: u64,
    pub changed_at: u64,
    pub revision: Revision,
    /// What came of it: the result, or why it failed, or the note of its last release.
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
    /// The message that it answers.
    #[serde(default)]
    pub reply_to: Option<MessageId>,
    /// The text in a few words, from its sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Unix time in milliseconds.
    pub at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// Stored, and in the recipient's inbox.
    Accepted,
    /// Handed to the recipient's process, which has not said that it read it.
    Delivered,
    Read,
    #[serde(other)]
    Unknown,
}

/// Tokens of models, summed, and what they cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Usage {
    /// All that was read, cached or not.
    pub input: u64,
    pub output: u64,
    /// Of `input`, from the provider's cache.
    #[serde(default)]
    pub cached: u64,
    /// Millionths of a US dollar, of the tokens whose price is known.
    #[serde(default)]
    pub micro_usd: u64,
    /// Of `input` and `output`, tokens whose price nobody knows.
    #[serde(default)]
    pub unpriced: u64,
}

impl Usage {
    /// All that was read and written.
    pub fn tokens(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// US dollars. `None`: the price of some of it is not known.
    pub fn usd(&self) -> Option<f64> {
        // No team spends 2^52 millionths of a dollar.
        (self.unpriced == 0).then_some(self.micro_usd as f64 / 1e6)
    }
}

impl std::iter::Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(usages: I) -> Self {
        usages.fold(Self::default(), |sum, one| Self {
            input: sum.input.saturating_add(one.input),
            output: sum.output.saturating_add(one.output),
            cached: sum.cached.saturating_add(one.cached),
            micro_usd: sum.micro_usd.saturating_add(one.micro_usd),
            unpriced: sum.unpriced.saturating_add(one.unpriced),
        })
    }
}

/// One goal that the lead was given, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunView {
    pub run: RunId,
    pub goal: String,
    pub state: RunState,
    /// The lead's, once it has ended.
    pub answer: Option<String>,
    /// Why it has ended without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many rounds it has had, where the team goes by rounds; `run/rounds` lists them.
    #[serde(default)]
    pub rounds: u32,
    /// Unix time in milliseconds.
    pub started_at: u64,
    pub ended_at: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    UnderWay,
    Finished,
    /// Its rounds are used up, and there is no answer.
    MaxRounds,
    /// Nobody can go on with it.
    Failed,
    /// The user cancelled it.
    Cancelled,
    /// The team went down, or another goal replaced it.
    Abandoned,
    #[serde(other)]
    Unknown,
}

/// One round of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RoundView {
    /// From 1.
    pub round: u32,
    pub state: RoundState,
    /// Whose it was; `None` where the lead's model gave nobody work.
    pub member: Option<MemberName>,
    pub task: Option<TaskId>,
    /// What came of it: the result, why there is none, or what was wrong with the reply.
    pub output: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RoundState {
    UnderWay,
    Completed,
    Failed,
    /// The reply of the lead's model could not be followed.
    Unclear,
    /// The reply was the answer.
    Answered,
    #[serde(other)]
    Unknown,
}

/// What a run that goes by rounds asks of the lead's model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct QuestionView {
    pub run: RunId,
    pub goal: String,
    /// The round that the reply opens, from 1.
    pub round: u32,
    pub wants: Wants,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Wants {
    /// Who works next, or the answer.
    Decision { max_rounds: u32 },
    /// The answer, from everybody's outputs.
    Synthesis,
}

/// One thing that `down` ended, closed or left, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Receipt {
    pub kind: ReceiptKind,
    /// A pid with its member, a pane's id, a path.
    pub what: String,
    pub fate: Fate,
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
pub enum Fate {
    Ended,
    Closed,
    Removed,
    Kept,
    Survived,
    #[serde(other)]
    Unknown,
}

/// What the supervisor is doing right now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SupervisorView {
    pub pid: u32,
    pub build: String,
    pub protocol: u32,
    pub socket: PathBuf,
    pub log: PathBuf,
    /// How long it has been serving, in milliseconds.
    pub up_ms: u64,
    pub resident_bytes: u64,
    pub connections: u32,
    /// Open descriptors, and how many there may be.
    #[serde(default)]
    pub descriptors: u32,
    #[serde(default)]
    pub descriptors_max: u32,
    pub teams: Vec<DriverView>,
}

/// What one team's driver is doing right now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DriverView {
    pub team: TeamId,
    pub project: PathBuf,
    pub revision: Revision,
    /// Inputs that wait for the driver.
    pub inputs: u32,
    /// Records in the commit under way.
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
    /// How long the store took, in microseconds.
    pub took_us: u64,
    /// How long ago, in milliseconds.
    pub ago_ms: u64,
}
