//! Inputs of a driver. Sent by the server, the launcher, and tokio tasks of the driver.

use std::sync::Arc;

use agent_team_core::input::ProcessExit;
use agent_team_core::input::{ClaimRef, CompletionHook, StartFault};
use agent_team_core::{CallKey, Origin, ReplyTo};
use agent_team_protocol::notification::{
    GoodbyeReason, MemberModel, MemberPrompts, MemberScreen, MemberWaits, NotifyUser, PaneShown,
    TaskOutput, TaskSession,
};
use agent_team_protocol::view::{DriverView, Receipt};
use agent_team_protocol::{LaunchId, MemberName, RunId};
use tokio::sync::oneshot;

use super::launches::Hello;
use super::notifier::Kind;
use super::request::{Query, Request};
use super::subscribers::CatchUp;
use crate::launch::LaunchReport;
use crate::outbox::Reply;

#[derive(Debug)]
pub(crate) enum Message {
    Called(Request),
    Hello(Hello),
    /// A member's connection ended. Its process may still be running.
    Disconnected {
        launch: LaunchId,
        connection: u64,
    },
    /// A member sent a frame that changes nothing; it proves that the worker is alive.
    Activity(LaunchId),
    Output(LaunchId, TaskOutput),
    Session(LaunchId, TaskSession),
    PaneLost(LaunchId),
    /// A member's pane has become too small or has grown.
    PaneResized,
    PaneShown(LaunchId, PaneShown),
    Waiting(LaunchId, MemberWaits),
    Model(LaunchId, MemberModel),
    Screen(LaunchId, MemberScreen),
    Prompts(LaunchId, MemberPrompts),
    Launch(LaunchReport),
    NotStarted {
        launch: LaunchId,
        fault: StartFault,
    },
    Exited(LaunchId, ProcessExit),
    TreeEnded {
        launch: LaunchId,
        ended: Vec<u32>,
    },
    TreeSurvived {
        launch: LaunchId,
        pids: Vec<u32>,
    },
    /// The result of the `task_completed` hook.
    CompletionHook {
        by: Origin,
        key: Option<CallKey>,
        reply: ReplyTo,
        claim: ClaimRef,
        result: Arc<str>,
        hook: CompletionHook,
    },
    /// A caller waits for a run that can no longer end by itself.
    RunStuck {
        run: RunId,
        reason: String,
    },
    /// The `teammate_idle` hook refused: the member must continue.
    IdleRefused {
        launch: LaunchId,
        reason: String,
    },
    /// A query to be answered from the state, once the events before it are stored.
    Read {
        by: Origin,
        reply: Reply,
        query: Query,
    },
    /// A subscriber has read history, or its queue has room again.
    CaughtUp(CatchUp),
    PanesClosed(Vec<Receipt>),
    /// The member's pane does not have the focus, or its focus is unknown. The driver must notify the user.
    Unfocused {
        kind: Kind,
        member: MemberName,
        notify: NotifyUser,
    },
    Status(oneshot::Sender<DriverView>),
    /// The team was deleted or the supervisor is stopping: close the store.
    Close {
        goodbye: GoodbyeReason,
        done: oneshot::Sender<()>,
    },
}
