//! What the native engine and the team's tools share. The tools themselves stand beside it.

mod arrivals;
mod claims;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use agent_team_protocol::TaskId;
use agent_team_protocol::notification::DeliveredMessage;

pub use arrivals::Arrivals;
pub use claims::Claims;

/// What a member's loop and its team tools share. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Shared {
    pub claims: Claims,
    pub arrivals: Arrivals,
    pub verify: Arc<dyn Verify>,
}

/// A check on its way; the error is the end of what it printed, for the model.
pub type Verifying<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Runs the line of a task that must exit 0 before the task counts as completed: the user's words, never a model's.
pub trait Verify: Send + Sync + fmt::Debug {
    fn verify<'a>(&'a self, task: TaskId, line: &'a str) -> Verifying<'a>;
}

/// A message as the model is shown it, also by the loop.
pub fn message_line(message: &DeliveredMessage) -> String {
    let urgent = if message.urgent { ", urgent" } else { "" };
    let again = if message.redelivered {
        ", delivered again"
    } else {
        ""
    };
    format!(
        "Message {} from {}{urgent}{again}:\n{}",
        message.id, message.from, message.text
    )
}
