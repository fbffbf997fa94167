//! Faults that test builds contain on request, for the torture's checkers to find. Called at the few places that a
//! promise rests on. Release builds contain none of them: `cargo xtask install` refuses binaries that do.
//!
//! `AGENT_TEAM_PLANT=lost-message` makes one kind of fault happen again and again.

/// A place where a promise can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// An acknowledged message is stored without its recipients.
    LostMessage,
    /// A task is given to a second member.
    DoubleClaim,
    /// Something else writes to the journal.
    SecondWriter,
    /// A call that must be asked is allowed.
    UnaskedRun,
    /// A claim's end passes with any generation.
    StaleOwner,
}

/// Whether the fault happens now: each time that the count of its occasions is a multiple of `every`.
#[cfg(not(debug_assertions))]
pub fn strikes(_: Plant, _every: u64) -> bool {
    false
}

/// Whether the fault happens now: each time that the count of its occasions is a multiple of `every`.
#[cfg(debug_assertions)]
pub fn strikes(plant: Plant, every: u64) -> bool {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static PLANTED: OnceLock<Option<Plant>> = OnceLock::new();
    static OCCASIONS: AtomicU64 = AtomicU64::new(0);
    let planted = PLANTED.get_or_init(|| {
        Some(match std::env::var("AGENT_TEAM_PLANT").ok()?.as_str() {
            "lost-message" => Plant::LostMessage,
            "double-claim" => Plant::DoubleClaim,
            "second-writer" => Plant::SecondWriter,
            "unasked-run" => Plant::UnaskedRun,
            "stale-owner" => Plant::StaleOwner,
            _ => return None,
        })
    });
    *planted == Some(plant) && (OCCASIONS.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every)
}
