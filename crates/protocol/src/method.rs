//! The methods, `noun/verb`: permitted callers, arguments and answer of each. The supervisor decodes a call into a
//! [`MethodCall`], and executes it only after it has checked the caller against the method's [`Access`].

mod access;
mod event;
mod member;
mod memory;
mod message;
mod pane;
mod run;
mod task;
mod team;
mod transcript;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use access::{Access, CallerRole};
pub use event::{Subscribe, SubscribeAnswer};
pub use member::{
    AnswerStop, CallPrompt, CommandsAnswer, Exit, LogAnswer, MemberAnswer, OneMember, RemoveAnswer,
    RemoveMember, RunLine, ScreenAnswer, Spawn, Stop,
};
pub use memory::{GetMemory, Memory, PutMemory};
pub use message::{
    ListMessages, MessageListAnswer, ReadMessages, SendAnswer, SendMessage, TEXT_MAX,
};
pub use pane::{
    Attach, AttachAnswer, LendTerminal, LendTerminalAnswer, ReopenAnswer, ReopenPanes, Reopened,
};
pub use run::{
    CancelAnswer, CancelRun, FinishRun, ListRounds, ReplyToRun, RoundListAnswer, RunAnswer,
    StartRun, WaitRun,
};
pub use task::{
    AddTask, AssignTask, ClaimTask, ClearField, EndTask, ListTasks, OneTask, TaskAnswer,
    TaskChanges, TaskListAnswer, UpdateTask,
};
pub use team::{
    Change, ChangeKind, Down, DownAnswer, SECRET_MIN, SetBudget, SetMode, TeamListAnswer,
    UnreadableTeam, Up, UpAnswer, WaitAnswer, WaitResult,
};
pub use transcript::{
    AppendTranscript, ITEM_MAX, ReadTranscript, TranscriptAnswer, TranscriptPage, TurnEnd,
};

use crate::error::Refusal;
use crate::notification::Ping;
use crate::request::{
    AskRequest, DecideRequest, Decided, ListRequests, OneRequest, Permission, ProposePlan,
    RequestListAnswer, RequestView, WithdrawRequest,
};
use crate::rule::{CheckRules, ForgetRule, JudgementView, RuleListAnswer};
use crate::view::{QuestionView, RunView, SupervisorView, TaskView, TeamView};

/// A method: its entry in [`METHODS`], its arguments and its answer. A call is sent as a [`crate::rpc::Call`].
pub trait Method {
    const ENTRY: MethodEntry;
    const NAME: &'static str = Self::ENTRY.name;
    type Args: Serialize + DeserializeOwned + 'static;
    type Answer: Serialize + DeserializeOwned + 'static;
}

/// The name of a method and its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodEntry {
    pub name: &'static str,
    pub access: Access,
}

impl MethodEntry {
    /// The entry of a method.
    ///
    /// # Errors
    /// `method_not_found`.
    pub fn find(name: &str) -> Result<Self, Refusal> {
        let entry = METHODS.iter().find(|entry| entry.name == name);
        entry.copied().ok_or_else(|| Refusal::unknown_method(name))
    }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $type:ident = $name:literal by $access:ident ($args:ty) -> $answer:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $type {}

            impl Method for $type {
                const ENTRY: MethodEntry = MethodEntry { name: $name, access: Access::$access };
                type Args = $args;
                type Answer = $answer;
            }
        )*

        /// Every method.
        pub const METHODS: &[MethodEntry] = &[$($type::ENTRY,)*];

        /// A call of any method, with its arguments.
        #[derive(Debug)]
        #[expect(clippy::large_enum_variant, reason = "a call is matched as soon as it is decoded, and never stored")]
        pub enum MethodCall {
            $($type($args),)*
        }

        impl MethodCall {
            /// Parses the arguments of a method.
            ///
            /// # Errors
            /// `method_not_found`, `invalid_params`.
            pub fn decode(method: &str, args: &RawValue) -> Result<Self, Refusal> {
                match method {
                    $($name => decode(method, args).map(Self::$type),)*
                    _ => Err(Refusal::unknown_method(method)),
                }
            }
        }

        #[cfg(test)]
        pub(crate) fn schemas(
            generator: &mut schemars::SchemaGenerator,
        ) -> Vec<(&'static str, schemars::Schema, schemars::Schema)> {
            vec![$(($name, generator.subschema_for::<$args>(), generator.subschema_for::<$answer>()),)*]
        }
    };
}

fn decode<A: DeserializeOwned>(method: &str, args: &RawValue) -> Result<A, Refusal> {
    serde_json::from_str(args.get()).map_err(|error| Refusal::invalid_params(method, &error))
}

methods! {
    /// Starts a team, or changes it to match its file.
    TeamUp = "team/up" by User (Up) -> UpAnswer;
    /// Stops every member and returns receipts. Answers when no process and no pane is left, or lists the survivors.
    TeamDown = "team/down" by User (Down) -> DownAnswer;
    TeamList = "team/list" by User (Nothing) -> TeamListAnswer;
    TeamShow = "team/show" by Everyone (Nothing) -> TeamView;
    /// Replaces the limits on what a member, or the whole team, may spend on one goal.
    TeamBudget = "team/budget" by User (SetBudget) -> Nothing;
    /// Changes the permission mode of the running team or of one member, from the next decision on. Only the user may
    /// call it: a member must not widen its own permissions.
    TeamMode = "team/mode" by User (SetMode) -> Nothing;
    /// Deletes a team that is down: its journal, its logs, and the user's settings and trust for it.
    TeamDelete = "team/delete" by User (Nothing) -> DownAnswer;
    /// Answers when no task is in progress and none can be claimed.
    TeamWait = "team/wait" by User (Nothing) -> WaitAnswer;
    /// Returns the command that shows the team, or one member's pane, in the caller's terminal.
    TeamAttach = "team/attach" by User (Attach) -> AttachAnswer;

    /// Opens panes for members that should have a pane and have none.
    PaneReopen = "pane/reopen" by User (ReopenPanes) -> ReopenAnswer;
    /// Lends the caller's terminal to a member for as long as the calling process lives.
    PaneHold = "pane/hold" by User (LendTerminal) -> LendTerminalAnswer;

    /// Adds a member of a role.
    MemberSpawn = "member/spawn" by UserOrLead (Spawn) -> MemberAnswer;
    /// Asks a member to stop, terminates it after the grace period, and keeps it stopped. A member that is in a turn
    /// can object: the call is then refused.
    MemberStop = "member/stop" by UserOrLead (Stop) -> MemberAnswer;
    /// Stops a spawned member as `member/stop` does and removes it from the team.
    MemberRemove = "member/remove" by UserOrLead (RemoveMember) -> RemoveAnswer;
    /// A member's answer to a stop request.
    StopAnswer = "stop/answer" by Member (AnswerStop) -> Nothing;
    /// Kills a member's whole process tree immediately, and keeps the member stopped.
    MemberKill = "member/kill" by User (OneMember) -> MemberAnswer;
    /// Ends the current launch of a member and starts a new launch, in the same pane if the member has a pane. The lead
    /// cannot restart itself.
    MemberRestart = "member/restart" by UserOrLead (OneMember) -> MemberAnswer;
    /// Interrupts the current turn of an agent: its model request and its running calls end. The agent keeps its task
    /// and waits for the next message of the user. Does nothing between turns. For a command member, ends only a line
    /// that the user has typed.
    MemberInterrupt = "member/interrupt" by User (OneMember) -> Nothing;
    /// Runs a shell line of the user in the environment of an idle command member, as if it were typed in the member's
    /// pane. The output is in the member's log; the line is neither on the board nor in the journal. The call is not
    /// stored, so a client must not repeat it after a lost connection.
    MemberRunLine = "member/run_line" by User (RunLine) -> Nothing;
    /// Asks an agent to compact its conversation: before its next step, or at once between turns.
    MemberCompact = "member/compact" by User (OneMember) -> MemberAnswer;
    MemberShow = "member/show" by Everyone (OneMember) -> MemberAnswer;
    /// The path of a member's log.
    MemberLog = "member/log" by User (OneMember) -> LogAnswer;
    /// The newest screen of a member that shows a terminal program.
    MemberScreenShow = "member/screen" by User (OneMember) -> ScreenAnswer;
    /// The slash commands of a member: command files, and prompts of MCP servers.
    MemberCommands = "member/commands" by User (OneMember) -> CommandsAnswer;
    /// Sends the text of an MCP server's prompt to the member, as the user's message. Answers before the MCP server does.
    MemberPrompt = "member/prompt" by User (CallPrompt) -> Nothing;
    /// A worker's report before it exits.
    MemberExit = "member/exit" by Member (Exit) -> Nothing;
    /// Checks that the member's connection responds.
    MemberPing = "member/ping" by Supervisor (Ping) -> Nothing;

    MessageSend = "message/send" by Everyone (SendMessage) -> SendAnswer;
    /// Acknowledges messages that the user has read, or that have reached the calling member's transcript.
    MessageRead = "message/read" by Everyone (ReadMessages) -> Nothing;
    MessageList = "message/list" by Everyone (ListMessages) -> MessageListAnswer;

    TaskAdd = "task/add" by Everyone (AddTask) -> TaskAnswer;
    /// The tasks of the board in the order of their ids, a page at a time.
    TaskList = "task/list" by Everyone (ListTasks) -> TaskListAnswer;
    TaskShow = "task/show" by Everyone (OneTask) -> TaskView;
    TaskUpdate = "task/update" by Everyone (UpdateTask) -> TaskAnswer;
    TaskClaim = "task/claim" by Everyone (ClaimTask) -> TaskAnswer;
    TaskAssign = "task/assign" by Everyone (AssignTask) -> TaskAnswer;
    TaskComplete = "task/complete" by Everyone (EndTask) -> TaskAnswer;
    TaskFail = "task/fail" by Everyone (EndTask) -> TaskAnswer;
    TaskRelease = "task/release" by Everyone (EndTask) -> TaskAnswer;
    /// Makes a failed or cancelled task pending again.
    TaskRetry = "task/retry" by Everyone (OneTask) -> TaskAnswer;
    TaskCancel = "task/cancel" by Everyone (OneTask) -> TaskAnswer;

    /// Gives the lead a goal.
    RunStart = "run/start" by User (StartRun) -> RunAnswer;
    /// Ends the run with its answer.
    RunFinish = "run/finish" by Lead (FinishRun) -> RunAnswer;
    /// Ends the run under way without an answer, and cancels the open tasks that members added for it.
    RunCancel = "run/cancel" by User (CancelRun) -> CancelAnswer;
    /// The newest run, with the whole goal and answer.
    RunShow = "run/show" by Everyone (Nothing) -> RunView;
    /// Answers when the run has ended. Only for the newest run.
    RunWait = "run/wait" by User (WaitRun) -> RunView;

    /// Answers when a run in rounds needs a reply of the lead's model.
    RunQuestion = "run/question" by Lead (Nothing) -> QuestionView;
    /// Stores the reply of the lead's model to the question of `run/question`.
    RunReply = "run/reply" by Lead (ReplyToRun) -> RunAnswer;
    /// The rounds of the newest run, a page at a time.
    RunRounds = "run/rounds" by Everyone (ListRounds) -> RoundListAnswer;

    /// Asks for permission to make a call. Answers immediately.
    RequestAsk = "request/ask" by Member (AskRequest) -> Permission;
    /// Proposes a plan as a new request. The plan replaces the previous plan. Answers immediately. Refused if the
    /// member needs no approved plan.
    PlanPropose = "plan/propose" by Member (ProposePlan) -> OneRequest;
    /// Answers when the request is no longer pending. Only for the member that made the request.
    RequestWait = "request/wait" by Member (OneRequest) -> Decided;
    /// Consumes the permission; the call runs from here on. Only for the member that made the request.
    RequestBegin = "request/begin" by Member (OneRequest) -> Nothing;
    /// Reports that the call has ended, successfully or not. Only for the member that made the request.
    RequestEnd = "request/end" by Member (OneRequest) -> Nothing;
    /// Reports that the member no longer waits for the decision. Only for the member that made the request.
    RequestWithdraw = "request/withdraw" by Member (WithdrawRequest) -> Nothing;
    RequestList = "request/list" by UserOrLead (ListRequests) -> RequestListAnswer;
    RequestShow = "request/show" by UserOrLead (OneRequest) -> RequestView;
    /// Decides a request. The lead may deny requests of other members, and allow requests that the user delegated to
    /// it.
    RequestDecide = "request/decide" by UserOrLead (DecideRequest) -> Nothing;

    /// The rules of the team file, of the user's settings and of decisions, in evaluation order.
    RuleList = "rule/list" by User (Nothing) -> RuleListAnswer;
    /// Evaluates the rules for a call without making it.
    RuleCheck = "rule/check" by User (CheckRules) -> JudgementView;
    /// Revokes the grant that the decision of this request created.
    RuleRevoke = "rule/revoke" by User (OneRequest) -> Nothing;
    /// Removes an `allow` rule of the user's settings from the team. The caller has already removed it from the
    /// settings.
    RuleForget = "rule/forget" by User (ForgetRule) -> Nothing;

    /// Stores new items of a member's transcript and acknowledges the messages in them, atomically.
    TranscriptAppend = "transcript/append" by Member (AppendTranscript) -> TranscriptAnswer;
    /// A member's transcript, a page at a time. A member may read only its own transcript.
    TranscriptRead = "transcript/read" by Everyone (ReadTranscript) -> TranscriptPage;

    /// Sets a value in the team's shared memory.
    MemoryPut = "memory/put" by Everyone (PutMemory) -> Nothing;
    MemoryGet = "memory/get" by Everyone (GetMemory) -> Memory;

    /// Sends the stored events after a revision, then each new event until the connection closes.
    EventSubscribe = "event/subscribe" by User (Subscribe) -> SubscribeAnswer;

    SupervisorStatus = "supervisor/status" by User (Nothing) -> SupervisorView;
    /// Stops all teams, then the supervisor.
    SupervisorStop = "supervisor/stop" by User (Nothing) -> DownAnswer;
    /// Stops only the supervisor; a worker or the caller starts the new build, which adopts the workers.
    SupervisorRestart = "supervisor/restart" by User (Nothing) -> Nothing;
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Nothing {}
