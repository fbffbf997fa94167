//! The result of a turn of an external agent, and the sender that returns the result to the loop. Used by the side
//! channels of Codex, OpenCode and Qwen Code.

use tokio::sync::oneshot;

use super::channel::TurnError;
use super::wire::{PromptEnd, StopReason};

/// The sender that reports the end of a turn.
pub(super) type TurnEnd = oneshot::Sender<Result<PromptEnd, TurnError>>;

/// How a turn has ended.
#[derive(Clone)]
pub(super) enum Outcome {
    Ended(StopReason),
    Failed(String),
}

impl Outcome {
    pub(super) fn result(&self) -> Result<PromptEnd, TurnError> {
        match self {
            Self::Ended(reason) => Ok(PromptEnd::without_usage(*reason)),
            Self::Failed(why) => Err(TurnError::Failed(why.clone())),
        }
    }
}
