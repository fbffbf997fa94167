//! Which claims this member holds. The loop notes what it is given, the tools what they claim; the model never sees a
//! generation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_team_protocol::{Generation, TaskId};

/// The claims of one member. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Claims(Arc<Mutex<BTreeMap<TaskId, Generation>>>);

impl Claims {
    /// The member owns the task now, under this generation.
    pub fn note(&self, task: TaskId, generation: Generation) {
        let mut claims = self.claims();
        let known = claims.entry(task).or_insert(generation);
        // An older claim may be told of later, by an answer that was overtaken.
        *known = generation.max(*known);
    }

    /// The member does not own the task any more, if it was this claim that it had.
    pub fn forget(&self, task: TaskId, generation: Generation) {
        let mut claims = self.claims();
        if claims.get(&task).is_some_and(|known| *known <= generation) {
            claims.remove(&task);
        }
    }

    pub fn generation(&self, task: TaskId) -> Option<Generation> {
        self.claims().get(&task).copied()
    }

    /// The tasks that the member owns.
    pub fn tasks(&self) -> Vec<TaskId> {
        self.claims().keys().copied().collect()
    }

    fn claims(&self) -> MutexGuard<'_, BTreeMap<TaskId, Generation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
