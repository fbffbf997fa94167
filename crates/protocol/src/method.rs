//! The methods, `noun/verb`: who may call each, its arguments and its answer.

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

pub use event::{Subscribe, SubscribeAnswer};
pub use member::{
    AnswerStop, Exit, LogAnswer, MemberAnswer, OneMember, RemoveAnswer, RemoveMember, Spawn, Stop,
};
pub use memory::{GetMemory, Memory, PutMemory};
pub use message::{
    ListMessages, MessageListAnswer, ReadMessages, SendAnswer, SendMessage, TEXT_MAX,
};
pub use pane::{Attach, AttachAnswer, HoldAnswer, HoldPane, ReopenAnswer, ReopenPanes, Reopened};
pub use run::{
    CancelAnswer, CancelRun, FinishRun, ListRounds, ReplyToRun, RoundListAnswer, RunAnswer,
    StartRun, WaitRun,
};
pub use task::{
    AddTask, AssignTask, ClaimTask, ClearField, EndTask, ListTasks, OneTask, TaskAnswer,
    TaskChanges, TaskListAnswer, UpdateTask,
};
pub use team::{
    Change, ChangeKind, Down, DownAnswer, Outcome, SECRET_MIN, SetBudget, TeamListAnswer, Up,
    UpAnswer, WaitAnswer,
};
pub use transcript::{
    AppendTranscript, ITEM_MAX, ReadTranscript, Rest, TranscriptAnswer, TranscriptPage,
};

use crate::notification::Ping;
pub use crate::placement::CallerTerminal;
use crate::request::{
    AskRequest, DecideRequest, Decided, ListRequests, OneRequest, Permission, ProposePlan,
    RequestListAnswer, RequestView,
};
use crate::rule::{CheckRules, ForgetRule, JudgementView, RuleListAnswer};
use crate::view::{QuestionView, RunView, SupervisorView, TaskView, TeamView};

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
    /// Starts a team, or changes it to what its file describes now. Client.
    TeamUp = "team/up" (Up) -> UpAnswer;
    /// Stops every member and returns receipts. Client. The answer comes when nothing is left, or with what survived.
    TeamDown = "team/down" (Down) -> DownAnswer;
    TeamList = "team/list" (Nothing) -> TeamListAnswer;
    TeamShow = "team/show" (Nothing) -> TeamView;
    /// Sets the limits of a member, or of the team, for one goal. Client.
    TeamBudget = "team/budget" (SetBudget) -> Nothing;
    /// Deletes a team that is down from disk. Client.
    TeamDelete = "team/delete" (Nothing) -> DownAnswer;
    /// Answers when no task is in progress and none can be claimed. Client.
    TeamWait = "team/wait" (Nothing) -> WaitAnswer;
    /// How to show the team, or one member's pane, in the caller's terminal. Client.
    TeamAttach = "team/attach" (Attach) -> AttachAnswer;

    /// Opens panes for members that lost theirs. Client.
    PaneReopen = "pane/reopen" (ReopenPanes) -> ReopenAnswer;
    /// Lends the caller's terminal to a member for as long as the calling process lives. Client.
    PaneHold = "pane/hold" (HoldPane) -> HoldAnswer;

    /// Adds a member of a role. Client, and the lead.
    MemberSpawn = "member/spawn" (Spawn) -> MemberAnswer;
    /// Asks a member to stop, terminates it after the grace, and keeps it stopped; refused when it is in a turn and
    /// objects. Client, and the lead.
    MemberStop = "member/stop" (Stop) -> MemberAnswer;
    /// Stops a spawned member as `member/stop` does and removes it from the team. Client, and the lead.
    MemberRemove = "member/remove" (RemoveMember) -> RemoveAnswer;
    /// A member's answer to a stop request. Member.
    StopAnswer = "stop/answer" (AnswerStop) -> Nothing;
    /// Kills a member's whole process tree immediately, and keeps the member stopped. Client.
    MemberKill = "member/kill" (OneMember) -> MemberAnswer;
    /// Starts a new launch in the same pane. Client, and the lead for members that are stopped or held.
    MemberRestart = "member/restart" (OneMember) -> MemberAnswer;
    MemberShow = "member/show" (OneMember) -> MemberAnswer;
    /// The path of a member's log. Client.
    MemberLog = "member/log" (OneMember) -> LogAnswer;
    /// A worker's report before it exits. Member.
    MemberExit = "member/exit" (Exit) -> Nothing;
    /// Checks that the member's connection responds. Supervisor to member.
    MemberPing = "member/ping" (Ping) -> Nothing;

    MessageSend = "message/send" (SendMessage) -> SendAnswer;
    /// Acknowledges messages that have reached the member's transcript. Member.
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
    /// Makes a failed or cancelled task pending again.
    TaskRetry = "task/retry" (OneTask) -> TaskAnswer;
    TaskCancel = "task/cancel" (OneTask) -> TaskAnswer;

    /// Gives the lead a goal. Client.
    RunStart = "run/start" (StartRun) -> RunAnswer;
    /// Ends the run with its answer. The lead.
    RunFinish = "run/finish" (FinishRun) -> RunAnswer;
    /// Ends the run under way without an answer, and cancels the open tasks that members added for it. Client.
    RunCancel = "run/cancel" (CancelRun) -> CancelAnswer;
    /// Answers when the run has ended. Client.
    RunWait = "run/wait" (WaitRun) -> RunView;

    /// Answers when a run in rounds needs a reply of the lead's model. The lead.
    RunQuestion = "run/question" (Nothing) -> QuestionView;
    /// The reply of the lead's model to that question. The lead.
    RunReply = "run/reply" (ReplyToRun) -> RunAnswer;
    /// The rounds of a run, a page at a time.
    RunRounds = "run/rounds" (ListRounds) -> RoundListAnswer;

    /// Asks for permission to make a call. Answers immediately. Member.
    RequestAsk = "request/ask" (AskRequest) -> Permission;
    /// Proposes a plan, as a request of its own, which replaces the previous plan. Answers immediately.
    /// Member that must have a plan approved.
    PlanPropose = "plan/propose" (ProposePlan) -> OneRequest;
    /// Answers when the request is decided. The member that made it.
    RequestWait = "request/wait" (OneRequest) -> Decided;
    /// Consumes the permission; the call runs from here on. The member that made the request.
    RequestBegin = "request/begin" (OneRequest) -> Nothing;
    /// The call has ended, with whatever result. The member that made the request.
    RequestEnd = "request/end" (OneRequest) -> Nothing;
    /// The member no longer waits for the decision. The member that made the request.
    RequestWithdraw = "request/withdraw" (OneRequest) -> Nothing;
    RequestList = "request/list" (ListRequests) -> RequestListAnswer;
    RequestShow = "request/show" (OneRequest) -> RequestView;
    /// Decides a request. Client; the lead may deny requests of others, and allow what the user delegated to it.
    RequestDecide = "request/decide" (DecideRequest) -> Nothing;

    /// The rules of the team file and of decisions, in evaluation order. Client.
    RuleList = "rule/list" (Nothing) -> RuleListAnswer;
    /// Evaluates the rules for a call without making it. Client.
    RuleCheck = "rule/check" (CheckRules) -> JudgementView;
    /// Revokes the grant that the decision of this request created. Client.
    RuleRevoke = "rule/revoke" (OneRequest) -> Nothing;
    /// Removes a rule that the user's settings granted. The caller has already removed it from the settings. Client.
    RuleForget = "rule/forget" (ForgetRule) -> Nothing;

    /// Stores what a member's model received and replied, and acknowledges the messages among it, atomically. Member.
    TranscriptAppend = "transcript/append" (AppendTranscript) -> TranscriptAnswer;
    /// A member's transcript, a page at a time. A member may read only its own.
    TranscriptRead = "transcript/read" (ReadTranscript) -> TranscriptPage;

    /// The team's shared memory.
    MemoryPut = "memory/put" (PutMemory) -> Nothing;
    MemoryGet = "memory/get" (GetMemory) -> Memory;

    /// Durable events after a revision, then live ones until the connection closes.
    EventSubscribe = "event/subscribe" (Subscribe) -> SubscribeAnswer;

    SupervisorStatus = "supervisor/status" (Nothing) -> SupervisorView;
    /// Stops all teams, then the supervisor. Client.
    SupervisorStop = "supervisor/stop" (Nothing) -> DownAnswer;
    /// Stops only the supervisor; a worker or the caller starts the new build, which adopts the workers. Client.
    SupervisorRestart = "supervisor/restart" (Nothing) -> Nothing;
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Nothing {}
