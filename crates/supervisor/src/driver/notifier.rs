//! What the driver remembers about its notifications to the user. Used by `notify`; sends no notification itself.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

#[derive(Default)]
pub(super) struct Notifier {
    /// When the user was last notified that a member waits.
    pub(super) waits_at: Option<Instant>,
    /// Whether the user's program has failed before: only its first failure is a warning in the log.
    pub(super) has_failed: Rc<Cell<bool>>,
}
