//! Where a test may have this process die: between decide, commit, effect and reply. Release builds have none of it.
//!
//! `AGENT_TEAM_CRASH_AT=committed:3` kills the supervisor, as `kill -9` would, the third time that it has committed.

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

#[cfg(not(debug_assertions))]
pub(crate) fn pass(_: Failpoint) {}

#[cfg(debug_assertions)]
pub(crate) fn pass(point: Failpoint) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use agent_team_system::process::{ProcessId, Signal};

    static PLAN: OnceLock<Option<(Failpoint, AtomicU64)>> = OnceLock::new();
    let plan = PLAN.get_or_init(|| {
        let text = std::env::var("AGENT_TEAM_CRASH_AT").ok()?;
        let (name, nth) = text.split_once(':')?;
        let points = [
            Failpoint::Decided,
            Failpoint::Committed,
            Failpoint::Effected,
            Failpoint::Replied,
        ];
        let point = points
            .into_iter()
            .find(|point| format!("{point:?}").eq_ignore_ascii_case(name))?;
        Some((point, AtomicU64::new(nth.parse().ok()?)))
    });
    if let Some((planned, left)) = plan
        && *planned == point
        && left.fetch_sub(1, Ordering::Relaxed) == 1
        && let Ok(own) = ProcessId::current()
    {
        // It does not return when it succeeds.
        let _sent = own.signal(Signal::SIGKILL);
    }
}
