//! An engine that an embedding program implements.

use std::pin::Pin;

use agent_team_protocol::notification::{Assignment, DeliveredMessage};

use super::team_handle::TeamHandle;

/// Does a member's work instead of a model. A new engine is created for each launch of the member.
///
/// One call is in progress at a time. The future of the call is dropped when the task is taken away, when the member is
/// killed, or when the call does not finish in time after a stop: do necessary cleanup in a `Drop`. A panic kills only
/// the member, which is restarted as after a crash.
pub trait Engine: Send {
    /// Works on a task that the member owns. `Ok` completes the task with this result, once the task's `verify` line
    /// (if any) has succeeded. `Err` fails the task for this reason.
    fn work<'a>(
        &'a mut self,
        task: &'a Assignment,
        team: &'a TeamHandle,
    ) -> EngineFuture<'a, TaskResult>;

    /// Receives the messages that have arrived and that the engine has not taken itself, in order. The lead receives
    /// the goal of a run as a message of the user. The messages count as read when this method returns. If the method
    /// does not return, the next launch receives the messages again.
    fn receive<'a>(
        &'a mut self,
        messages: &'a [DeliveredMessage],
        team: &'a TeamHandle,
    ) -> EngineFuture<'a, ()> {
        let _nothing_to_do = (messages, team);
        Box::pin(async {})
    }
}

/// A task's result, or the reason why it failed.
pub type TaskResult = Result<String, String>;

/// A future that can be sent to another thread.
pub type EngineFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
