//! Points where this process can die: between deciding, committing, acting and replying. Called by the driver.
//!
//! The program `agent-teamd-planted` of the `tests` package chooses a point before it runs the supervisor. No program that
//! is shipped calls [`crash_at`], and release builds contain none of the points.

/// A point between two steps that must not be torn apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// Decided and applied, not stored.
    Decided,
    /// Stored, nothing done about it.
    Committed,
    /// Effects carried out, answers not yet sent.
    Effected,
    /// Answers sent.
    Replied,
}

#[cfg(debug_assertions)]
static PLAN: std::sync::OnceLock<(Failpoint, std::sync::atomic::AtomicU64)> =
    std::sync::OnceLock::new();

/// Kills the supervisor at a point, as `kill -9` does: `committed:3` is the third time that it has committed. False where
/// there is no such point, and in a release build.
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

/// Kills nothing.
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
        // It does not return when it succeeds.
        let _sent = own.signal(Signal::SIGKILL);
    }
}
