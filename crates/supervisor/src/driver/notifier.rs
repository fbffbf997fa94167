//! State of the driver's notifications to the user. Used by `notify`; sends no notification itself.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The minimum interval between two notifications, except notifications of the end of a goal. An event within the
/// interval after a notification does not notify the user again.
const INTERVAL: Duration = Duration::from_secs(1);

/// The kind of an event of which the user is notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Message,
    Goal,
    /// A member is held.
    Held,
    /// A limit is used up.
    Limit,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Message => "message",
            Self::Goal => "goal",
            Self::Held => "held",
            Self::Limit => "limit",
        }
    }
}

#[derive(Default)]
pub(super) struct Notifier {
    /// When the user was last notified of an event other than the end of a goal.
    notified_at: Option<Instant>,
    /// The user's program has failed before: the log contains only its first failure as a warning.
    pub(super) has_failed: Rc<Cell<bool>>,
}

impl Notifier {
    /// Whether to notify the user now. If so, the caller must notify.
    pub(super) fn is_due(&mut self, kind: Kind) -> bool {
        if kind == Kind::Goal {
            return true;
        }
        let now = Instant::now();
        let last = self.notified_at;
        if last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            return false;
        }
        self.notified_at = Some(now);
        true
    }
}
