//! The result of [`Team::advance`](crate::Team::advance): what the driver stores for one input, and the effects that it
//! runs afterwards.

use std::sync::Arc;

use agent_team_protocol::id::{MemberName, Party, Revision, TaskId};

use crate::effect::Effect;
use crate::team::event::Record;
use crate::team::task::Task;

/// The result of one input.
#[derive(Debug, Default)]
pub struct Transition {
    /// The driver stores these records, in this order, before it runs any effect.
    pub records: Vec<Record>,
    pub effects: Vec<Effect>,
    /// Tasks that the input completed, with their results. They have left the board.
    pub completed: Vec<CompletedTask>,
    /// Items that the input added to transcripts, to be stored with the records.
    pub transcript_items: Vec<TranscriptItems>,
}

/// New items of a transcript that had `after` items before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranscriptItems {
    pub member: MemberName,
    pub after: u64,
    /// The items, each as JSON.
    pub items: Vec<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedTask {
    pub task: Task,
    pub owner: Party,
    pub result: Arc<str>,
    /// The tasks that depended on the completed task.
    pub blocks: Vec<TaskId>,
    /// The revision of the completion, and its Unix time in milliseconds.
    pub revision: Revision,
    pub at: u64,
}
