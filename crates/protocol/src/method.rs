//! The methods, `noun/verb`: who may call them, with what, and what a success answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::id::{
    Generation, LaunchId, MemberName, MessageId, Party, Recipient, Revision, RoleName, RunId,
    TaskId, TeamId,
};
use crate::notification::{Allowance, Ping, ShowPane};
use crate::request::{
    AskRequest, DecideRequest, Decided, ListRequests, OneRequest, Permission, ProposePlan,
    RequestListAnswer, RequestView,
};
use crate::rule::{CheckRules, ForgetRule, JudgementView, RuleListAnswer};
use crate::spec::{Budget, Engine, PlacementChoice, TaskSpec, TeamSpec};
use crate::view::{
    MemberView, MessageView, Placement, QuestionView, Receipt, RoundView, RunView, SupervisorView,
    TaskView, TeamEntry, TeamState, TeamView, Usage,
};

/// A method's name, arguments and answer. A call travels as [`crate::rpc::Call`].
pub trait Method {
    const NAME: &'static str;
    type Args: Serialize + DeserializeOwned + 'static;
    type Answer: Serialize + DeserializeOwned + 'static;
}

macro_rules! methods {
    ($($(#[$doc:meta])* $type:ident = $name:literal ($args:ty) -> $answer:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $type {}

            impl Method for $type {
                const NAME: &'static str = $name;
                type Args = $args;
                type Answer = $answer;
            }
        )*

        /// Every method's name.
        pub const METHODS: &[&str] = &[$($name,)*];

        #[cfg(test)]
        pub(crate) fn schemas(
            generator: &mut schemars::SchemaGenerator,
        ) -> Vec<(&'static str, schemars::Schema, schemars::Schema)> {
            vec![$(($name, generator.subschema_for::<$args>(), generator.subschema_for::<$answer>()),)*]
        }
    };
}

methods! {
    /// Starts a team or brings it to what its file says now. Client.
    TeamUp = "team/up" (Up) -> UpAnswer;
    /// Ends every member and proves it. Client. The answer comes when nothing is left, or when something survives.
    TeamDown = "team/down" (Down) -> DownAnswer;
    TeamList = "team/list" (Nothing) -> TeamListAnswer;
    TeamShow = "team/show" (Nothing) -> TeamView;
    /// Sets what a member, or all of them together, may spend on one goal. Client.
    TeamBudget = "team/budget" (SetBudget) -> Nothing;
    /// Removes a team that is down from disk. Client.
    TeamDelete = "team/delete" (Nothing) -> DownAnswer;
    /// Answers when no task is in progress and none can be taken. Client.
    TeamWait = "team/wait" (Nothing) -> WaitAnswer;
    /// How to show the team, or one member's pane, in the caller's terminal. Client.
    TeamAttach = "team/attach" (Attach) -> AttachAnswer;

    /// Gives members panes again that go on without. Client.
    PaneReopen = "pane/reopen" (ReopenPanes) -> ReopenAnswer;
    /// Lends the caller's terminal to a member, as long as the process that holds it lives. Client.
    PaneHold = "pane/hold" (HoldPane) -> HoldAnswer;

    /// Adds a member of a role. Client, and the lead.
    MemberSpawn = "member/spawn" (Spawn) -> MemberAnswer;
    /// Asks a member to end, ends it after the grace, and keeps it stopped; refused when it is in a turn and objects.
    /// Client, and the lead.
    MemberStop = "member/stop" (Stop) -> MemberAnswer;
    /// What a member that was asked to end says to that. Member.
    StopAnswer = "stop/answer" (AnswerStop) -> Nothing;
    /// Ends a member's whole process tree at once, and keeps it stopped. Client.
    MemberKill = "member/kill" (OneMember) -> MemberAnswer;
    /// A new launch in the same pane. Client, and the lead for who is stopped or held.
    MemberRestart = "member/restart" (OneMember) -> MemberAnswer;
    MemberShow = "member/show" (OneMember) -> MemberAnswer;
    /// Where the member's log is. Client.
    MemberLog = "member/log" (OneMember) -> LogAnswer;
    /// A worker's last words. Member.
    MemberExit = "member/exit" (Exit) -> Nothing;
    /// Are you there? Supervisor to member.
    MemberPing = "member/ping" (Ping) -> Nothing;

    MessageSend = "message/send" (SendMessage) -> SendAnswer;
    /// Acknowledges messages: they are where the member's work can see them. Member.
    MessageRead = "message/read" (ReadMessages) -> Nothing;
    MessageList = "message/list" (ListMessages) -> MessageListAnswer;

    TaskAdd = "task/add" (AddTask) -> TaskAnswer;
    /// The board by number, a page at a time.
    TaskList = "task/list" (ListTasks) -> TaskListAnswer;
    TaskShow = "task/show" (OneTask) -> TaskView;
    TaskUpdate = "task/update" (UpdateTask) -> TaskAnswer;
    TaskClaim = "task/claim" (ClaimTask) -> TaskAnswer;
    TaskAssign = "task/assign" (AssignTask) -> TaskAnswer;
    TaskComplete = "task/complete" (EndTask) -> TaskAnswer;
    TaskFail = "task/fail" (EndTask) -> TaskAnswer;
    TaskRelease = "task/release" (EndTask) -> TaskAnswer;
    /// A failed or cancelled task is pending again.
    TaskRetry = "task/retry" (OneTask) -> TaskAnswer;
    TaskCancel = "task/cancel" (OneTask) -> TaskAnswer;

    /// Gives the lead a goal. Client.
    RunStart = "run/start" (StartRun) -> RunAnswer;
    /// Ends the run with its answer. The lead.
    RunFinish = "run/finish" (FinishRun) -> RunAnswer;
    /// Answers when the run has ended. Client.
    RunWait = "run/wait" (WaitRun) -> RunView;

    /// Answers when a run that goes by rounds wants to be told something by the lead's model. The lead.
    RunQuestion = "run/question" (Nothing) -> QuestionView;
    /// What the lead's model says to that. The lead.
    RunReply = "run/reply" (ReplyToRun) -> RunAnswer;
    /// The rounds of a run, a page at a time.
    RunRounds = "run/rounds" (ListRounds) -> RoundListAnswer;

    /// May I do this? Answers at once. Member.
    RequestAsk = "request/ask" (AskRequest) -> Permission;
    /// What shall I do? A plan, as a request of its own. It takes the place of the one before, and answers at once.
    /// Member, of those that must plan first.
    PlanPropose = "plan/propose" (ProposePlan) -> OneRequest;
    /// Answers when the request is decided. The member that asked.
    RequestWait = "request/wait" (OneRequest) -> Decided;
    /// What was allowed is carried out from here on, and used up. The member that asked.
    RequestBegin = "request/begin" (OneRequest) -> Nothing;
    /// It was carried out, whatever came of it. The member that asked.
    RequestEnd = "request/end" (OneRequest) -> Nothing;
    /// Nobody waits for it any more. The member that asked.
    RequestWithdraw = "request/withdraw" (OneRequest) -> Nothing;
    RequestList = "request/list" (ListRequests) -> RequestListAnswer;
    RequestShow = "request/show" (OneRequest) -> RequestView;
    /// Client; the lead may deny what others ask, and allow what the user lets her.
    RequestDecide = "request/decide" (DecideRequest) -> Nothing;

    /// The rules of the team file and of decisions, in the order in which they are looked at. Client.
    RuleList = "rule/list" (Nothing) -> RuleListAnswer;
    /// What the rules say to a call that nobody makes. Client.
    RuleCheck = "rule/check" (CheckRules) -> JudgementView;
    /// What the decision of this request granted holds no longer. Client.
    RuleRevoke = "rule/revoke" (OneRequest) -> Nothing;
    /// What the user's settings allowed, they allow no longer: whoever calls has written that there. Client.
    RuleForget = "rule/forget" (ForgetRule) -> Nothing;

    /// Stores what a member's model saw and said, and acknowledges the messages among it, in one. Member.
    TranscriptAppend = "transcript/append" (AppendTranscript) -> TranscriptAnswer;
    /// A member's transcript, a page at a time. A member reads its own.
    TranscriptRead = "transcript/read" (ReadTranscript) -> TranscriptPage;

    /// The team's shared memory.
    MemoryPut = "memory/put" (PutMemory) -> Nothing;
    MemoryGet = "memory/get" (GetMemory) -> Memory;

    /// Durable events after a revision, then live ones until the connection ends.
    EventSubscribe = "event/subscribe" (Subscribe) -> SubscribeAnswer;

    SupervisorStatus = "supervisor/status" (Nothing) -> SupervisorView;
    /// Ends the teams, then the supervisor. Client.
    SupervisorStop = "supervisor/stop" (Nothing) -> DownAnswer;
    /// Ends the supervisor alone; a worker or the caller starts the new build, which adopts the workers. Client.
    SupervisorRestart = "supervisor/restart" (Nothing) -> Nothing;
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Nothing {}

/// What the caller's terminal is: the supervisor never trusts its own environment for this.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CallerTerminal {
    /// `$TMUX`, when set.
    #[serde(default)]
    pub tmux: Option<String>,
    /// `$TMUX_PANE`, when set.
    #[serde(default)]
    pub tmux_pane: Option<String>,
    /// `$PATH`: where tmux is looked for.
    pub path: String,
    /// Columns and rows; `None` without a terminal.
    #[serde(default)]
    pub size: Option<(u16, u16)>,
}

#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Up {
    pub spec: TeamSpec,
    /// The members' environment. A secret: `Debug` hides it.
    pub environment: BTreeMap<String, String>,
    /// Which of them the caller named itself, and so meant for tools.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub named: BTreeSet<String>,
    /// Variables of what the members' tools and tasks run, and of nothing else: neither a model nor a hook is told of
    /// them, and their values, of [`SECRET_MIN`] bytes at least, are hidden wherever a program prints them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    pub terminal: CallerTerminal,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Forget the board and the members of before.
    pub fresh: bool,
}

/// A shorter value stands in too much that is no secret to be hidden everywhere. In bytes.
pub const SECRET_MIN: usize = 6;

impl std::fmt::Debug for Up {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Up")
            .field("spec", &self.spec)
            .field("terminal", &self.terminal)
            .field("dry_run", &self.dry_run)
            .field("fresh", &self.fresh)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UpAnswer {
    pub team: TeamId,
    pub revision: Revision,
    pub placement: Placement,
    /// Why this placement.
    pub placement_reason: String,
    pub changes: Vec<Change>,
}

/// One thing that `up` did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Change {
    /// `member ada`, `task Build`.
    pub what: String,
    pub change: ChangeKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    Started,
    Restarted,
    Stopped,
    Added,
    Updated,
    Cancelled,
    /// Differs, and was left as it is; the note says why.
    Left,
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Down {
    /// Skip the grace.
    pub force: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DownAnswer {
    pub receipts: Vec<Receipt>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TeamListAnswer {
    pub teams: Vec<TeamEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WaitAnswer {
    pub team: TeamId,
    pub outcome: Outcome,
    pub members: Vec<MemberView>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every task is completed or cancelled.
    Completed,
    /// Some task failed, or is left that nobody can take.
    Failed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attach {
    #[serde(default)]
    pub member: Option<MemberName>,
    pub read_only: bool,
    pub terminal: CallerTerminal,
}

/// What the caller runs, in its own terminal, to be attached.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AttachAnswer {
    /// Empty: the caller's own tmux client was switched, nothing is to be run.
    pub argv: Vec<String>,
    /// Variables to take away before `argv` is run.
    pub unset: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReopenPanes {
    /// `None`: everybody who is to have one.
    #[serde(default)]
    pub member: Option<MemberName>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReopenAnswer {
    /// Of the members that were without one.
    pub panes: Vec<Reopened>,
}

/// A member's new pane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reopened {
    pub member: MemberName,
    /// The terminal's own id, such as `%3`; `None`: there is none, because of `why`.
    #[serde(default)]
    pub pane: Option<String>,
    #[serde(default)]
    pub why: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HoldPane {
    pub launch: LaunchId,
    /// What the launch's worker is to be told.
    pub show: ShowPane,
}

/// Whom the terminal is lent to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HoldAnswer {
    pub member: MemberName,
    /// The worker, which is to hear of keys and sizes by signals.
    pub pid: u32,
    /// As in [`crate::notification::TaskSession`].
    pub start_time: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Spawn {
    pub role: RoleName,
    /// `None`: `<role>-<n>`.
    #[serde(default)]
    pub name: Option<MemberName>,
    /// `None`: the role's.
    #[serde(default)]
    pub engine: Option<Engine>,
    #[serde(default)]
    pub placement: Option<PlacementChoice>,
    /// `None`: the role's.
    #[serde(default)]
    pub model: Option<String>,
    /// Behind the role's.
    #[serde(default)]
    pub prompt: Option<String>,
    /// Of the role's, only these.
    #[serde(default)]
    pub tools: Option<Vec<String>>,
    /// It changes nothing before a plan of it is approved, also where its role does not say so.
    #[serde(default)]
    pub must_plan: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OneMember {
    pub member: MemberName,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stop {
    pub member: MemberName,
    /// Whatever it objects. The user alone.
    #[serde(default)]
    pub force: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AnswerStop {
    /// Why it does not want to end. `None`: it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objection: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberAnswer {
    pub revision: Revision,
    pub member: MemberView,
    /// What the team is with the member as it is now. Older supervisors do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<TeamState>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LogAnswer {
    pub path: PathBuf,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Exit {
    pub code: i32,
    pub reason: String,
    /// Restarting cannot help: a wrong directory, a missing key. The member is held at once.
    pub hold: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SendMessage {
    pub to: Recipient,
    pub text: String,
    #[serde(default)]
    pub urgent: bool,
    /// The message that this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
}

/// Longest message and longest task result, in bytes.
pub const TEXT_MAX: usize = 64 << 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SendAnswer {
    pub id: MessageId,
    /// Who has it in the inbox now.
    pub to: Vec<Party>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReadMessages {
    pub messages: Vec<MessageId>,
}

/// Arguments of `message/list`: the newest `limit` messages, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ListMessages {
    /// Only those from or to this party.
    #[serde(default)]
    pub of: Option<Party>,
    pub limit: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MessageListAnswer {
    pub messages: Vec<MessageView>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AddTask {
    pub spec: TaskSpec,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OneTask {
    pub task: TaskId,
}

/// Fields left out stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskChanges {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// Ids or keys, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UpdateTask {
    pub task: TaskId,
    pub changes: TaskChanges,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClaimTask {
    /// `None`: the ready task of highest priority that the caller may take.
    #[serde(default)]
    pub task: Option<TaskId>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AssignTask {
    pub task: TaskId,
    pub member: MemberName,
}

/// Arguments of complete, fail and release.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EndTask {
    pub task: TaskId,
    /// The claim that is meant. A member's call needs it; the user's may leave it out to mean the current one.
    #[serde(default)]
    pub generation: Option<Generation>,
    /// The result, the reason or the note.
    #[serde(default)]
    pub text: String,
}

/// What a change of a task left it as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskAnswer {
    pub task: TaskId,
    /// The current claim's, also after it ended.
    pub generation: Generation,
    /// The other tasks in progress that mean to touch the same files.
    #[serde(default)]
    pub overlaps: Vec<TaskId>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ListTasks {
    /// The last task of the page before; 0 for the first page.
    #[serde(default)]
    pub after: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskListAnswer {
    pub revision: Revision,
    pub tasks: Vec<TaskView>,
    /// There are more after the last of these.
    #[serde(default)]
    pub more: bool,
}

impl TaskListAnswer {
    /// What asks for the next page, unless this is the last.
    pub fn next(&self) -> Option<ListTasks> {
        let last = self.tasks.last().filter(|_| self.more)?;
        Some(ListTasks { after: last.id.0 })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StartRun {
    pub goal: String,
    /// When it ends, the members are ended too.
    #[serde(default)]
    pub then_down: bool,
    /// In place of a run that is under way.
    #[serde(default)]
    pub anew: bool,
    /// What the team's shared memory holds at its start: JSON by key.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, serde_json::Value>"))]
    pub memory: BTreeMap<String, Box<RawValue>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunAnswer {
    pub run: RunId,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FinishRun {
    pub answer: String,
    /// Also with tasks that are not finished.
    #[serde(default)]
    pub force: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WaitRun {
    pub run: RunId,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReplyToRun {
    pub run: RunId,
    /// Of the question.
    pub round: u32,
    /// As the model said it.
    pub text: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ListRounds {
    pub run: RunId,
    /// The last round of the page before; 0 for the first page.
    #[serde(default)]
    pub after: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RoundListAnswer {
    pub rounds: Vec<RoundView>,
    /// There are more after the last of these.
    #[serde(default)]
    pub more: bool,
}

impl ListRounds {
    /// What asks for the first page.
    pub fn of(run: RunId) -> Self {
        Self { run, after: 0 }
    }

    /// What asks for the page after this one, unless it is the last.
    pub fn next(self, page: &RoundListAnswer) -> Option<Self> {
        let last = page.rounds.last().filter(|_| page.more)?;
        let after = last.round;
        Some(Self { after, ..self })
    }
}

/// Longest item of a transcript, in bytes of its JSON.
pub const ITEM_MAX: usize = 512 << 10;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AppendTranscript {
    /// As the engine has them; the supervisor never looks inside.
    #[cfg_attr(test, schemars(with = "Vec<serde_json::Value>"))]
    pub items: Vec<Box<RawValue>>,
    /// Messages that are among the items, and so are read.
    #[serde(default)]
    pub read: Vec<MessageId>,
    /// What the model's answers among the items cost.
    #[serde(default)]
    pub usage: Usage,
    /// The member has nothing more to do until somebody speaks to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rests: Option<Rest>,
}

/// How a member's turn ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rest {
    /// Its last words, for the lead who has not heard of it in this turn otherwise. Empty: nothing to say.
    #[serde(default)]
    pub report: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TranscriptAnswer {
    /// Items stored so far.
    pub length: u64,
    #[serde(default)]
    pub allowance: Allowance,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SetBudget {
    /// `None`: the team's.
    #[serde(default)]
    pub member: Option<MemberName>,
    /// In place of what is set.
    pub budget: Budget,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReadTranscript {
    /// Whose; a member may leave it out to mean its own.
    #[serde(default)]
    pub member: Option<MemberName>,
    /// Items before the first that is wanted.
    #[serde(default)]
    pub after: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TranscriptPage {
    #[cfg_attr(test, schemars(with = "Vec<serde_json::Value>"))]
    pub items: Vec<Box<RawValue>>,
    /// There are more after the last of these.
    #[serde(default)]
    pub more: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PutMemory {
    /// At most 256 bytes, of which a team remembers 256.
    pub key: String,
    /// At most 64 KiB as JSON.
    #[cfg_attr(test, schemars(with = "serde_json::Value"))]
    pub value: Box<RawValue>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GetMemory {
    /// `None`: everything.
    #[serde(default)]
    pub key: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Memory {
    #[cfg_attr(test, schemars(with = "BTreeMap<String, serde_json::Value>"))]
    pub values: BTreeMap<String, Box<RawValue>>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Subscribe {
    /// The last revision already seen; 0 for all.
    pub after: Revision,
    /// Also the transient ones: output of tasks.
    pub transient: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SubscribeAnswer {
    /// The newest revision when the call was taken.
    pub head: Revision,
}
