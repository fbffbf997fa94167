//! Failpoints: positions between deciding, committing, acting and replying where a test can kill the supervisor. Called
//! by the driver and the outbox.
//!
//! The program `agent-teamd-planted` of the `tests` package selects a point before it runs the supervisor. No shipped
//! program calls [`crash_at`], and release builds contain no failpoints.

/// A position in the sequence: decide, commit, act, reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// The input is decided and its events are applied, but not stored.
    Decided,
    /// The events are stored, but no effect is carried out.
    Committed,
    /// The effects are carried out, but the answers are not sent.
    Effected,
    /// The answers are sent.
    Replied,
}

#[cfg(debug_assertions)]
static PLAN: std::sync::OnceLock<(Failpoint, std::sync::atomic::AtomicU64)> =
    std::sync::OnceLock::new();

/// Arranges that the supervisor kills itself with SIGKILL at a failpoint: `committed:3` means the third commit.
/// Returns false if the text is not a failpoint and a number, if a failpoint is already set, and in release builds.
#[cfg(debug_assertions)]
pub fn crash_at(point: &str) -> bool {
    let points = [
        Failpoint::Decided,
        Failpoint::Committed,
        Failpoint::Effected,
        Failpoint::Replied,
    ];
    let plan = point.split_once(':').and_then(|(name, nth)| {
        let is_named = |point: &Failpoint| format!("{point:?}").eq_ignore_ascii_case(name);
        Some((points.into_iter().find(is_named)?, nth.parse::<u64>().ok()?))
    });
    plan.is_some_and(|(point, nth)| PLAN.set((point, nth.into())).is_ok())
}

/// Release builds have no failpoints.
#[cfg(not(debug_assertions))]
pub fn crash_at(_point: &str) -> bool {
    false
}

#[cfg(not(debug_assertions))]
pub(crate) fn pass(_: Failpoint) {}

#[cfg(debug_assertions)]
pub(crate) fn pass(point: Failpoint) {
    use std::sync::atomic::Ordering;

    use agent_team_system::process::{ProcessId, Signal};

    if let Some((planned, left)) = PLAN.get()
        && *planned == point
        && left.fetch_sub(1, Ordering::Relaxed) == 1
        && let Ok(own) = ProcessId::current()
    {
        // Does not return when it succeeds.
        let _sent = own.signal(Signal::SIGKILL);
    }
}
