//! The claims that this member holds. The agent loop records assigned tasks, and the tools record claimed tasks. The
//! model never sees a generation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_team_protocol::{Generation, TaskId};

/// The claims of one member. Cheap to clone; all clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Claims(Arc<Mutex<BTreeMap<TaskId, Generation>>>);

impl Claims {
    /// Records that the member owns the task under this generation.
    pub fn note(&self, task: TaskId, generation: Generation) {
        let mut claims = self.claims();
        let known = claims.entry(task).or_insert(generation);
        // Keep the newer generation: an answer about an older claim can arrive after the notification about a newer
        // claim.
        *known = generation.max(*known);
    }

    /// Removes the claim, unless the member has since claimed the task under a newer generation.
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
