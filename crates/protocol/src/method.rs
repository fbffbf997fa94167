//! The methods, `noun/verb`: who may call them, with what, and what a success answers.

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
    CallerTerminal, Change, ChangeKind, Down, DownAnswer, Outcome, SECRET_MIN, SetBudget,
    TeamListAnswer, Up, UpAnswer, WaitAnswer,
};
pub use transcript::{
    AppendTranscript, ITEM_MAX, ReadTranscript, Rest, TranscriptAnswer, TranscriptPage,
};

use crate::notification::Ping;
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
    /// Ends a spawned member as `member/stop` does and removes it from the team. Client, and the lead.
    MemberRemove = "member/remove" (RemoveMember) -> RemoveAnswer;
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
    /// Ends the run under way without an answer, and cancels the open tasks that members added for it. Client.
    RunCancel = "run/cancel" (CancelRun) -> CancelAnswer;
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
