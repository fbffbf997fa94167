//! The time of the user's last keystroke in the terminal interface of an external agent. `own_terminal` records it. A
//! side channel compares it with an answer that its agent reports: an answer without a keystroke did not come from the
//! interface.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How much later than the interface the worker may receive a question. The user's keystroke can precede it by this
/// time.
const LATE: Duration = Duration::from_secs(5);

#[derive(Clone, Default)]
pub(in crate::agent) struct Keystrokes(Arc<Mutex<Option<Instant>>>);

impl Keystrokes {
    pub(in crate::agent) fn typed(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether the user may have answered a question that the worker received at this time.
    pub(super) fn may_answer(&self, asked: Instant) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last + LATE >= asked)
    }
}
