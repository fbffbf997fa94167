//! Where a test may have this process die: between decide, commit, effect and reply. Release builds have none of it.
//!
//! `AGENT_TEAM_CRASH_AT=committed:3` kills the supervisor, as `kill -9` would, the third time that it has committed.

/// A point between two steps that must not be torn apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seam {
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
pub(crate) fn pass(_: Seam) {}

#[cfg(debug_assertions)]
pub(crate) fn pass(seam: Seam) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use agent_team_system::process::{ProcessId, Signal};

    static PLAN: OnceLock<Option<(Seam, AtomicU64)>> = OnceLock::new();
    let plan = PLAN.get_or_init(|| {
        let text = std::env::var("AGENT_TEAM_CRASH_AT").ok()?;
        let (name, nth) = text.split_once(':')?;
        let seams = [
            Seam::Decided,
            Seam::Committed,
            Seam::Effected,
            Seam::Replied,
        ];
        let seam = seams
            .into_iter()
            .find(|seam| format!("{seam:?}").eq_ignore_ascii_case(name))?;
        Some((seam, AtomicU64::new(nth.parse().ok()?)))
    });
    if let Some((planned, left)) = plan
        && *planned == seam
        && left.fetch_sub(1, Ordering::Relaxed) == 1
        && let Ok(own) = ProcessId::current()
    {
        // It does not return when it succeeds.
        let _sent = own.signal(Signal::SIGKILL);
    }
}
