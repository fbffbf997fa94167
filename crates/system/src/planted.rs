//! Faults that prove that the checkers of the torture test and of the simulation find violations. Called by the code
//! that each guarantee depends on.
//!
//! Two programs of the `tests` package plant a fault before they run the supervisor: `agent-teamd-planted` and
//! `agent-team-simulation`. No shipped program calls [`plant`], and release builds contain none of the faults.

/// A fault that violates one guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// An acknowledged message is stored without its recipients.
    LostMessage,
    /// A task is assigned to a second member.
    DoubleClaim,
    /// A second process writes to the journal.
    SecondWriter,
    /// A call that requires permission is allowed without asking.
    UnaskedRun,
    /// A claim can be ended with a stale generation.
    StaleOwner,
}

impl Plant {
    pub const ALL: [Plant; 5] = [
        Plant::LostMessage,
        Plant::DoubleClaim,
        Plant::SecondWriter,
        Plant::UnaskedRun,
        Plant::StaleOwner,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::LostMessage => "lost-message",
            Self::DoubleClaim => "double-claim",
            Self::SecondWriter => "second-writer",
            Self::UnaskedRun => "unasked-run",
            Self::StaleOwner => "stale-owner",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plant| plant.name() == name)
    }
}

#[cfg(debug_assertions)]
static PLANTED: std::sync::OnceLock<Plant> = std::sync::OnceLock::new();

/// Activates the fault in this process. False if this process already has a fault, and in a release build, which
/// contains none.
pub fn plant(plant: Plant) -> bool {
    #[cfg(debug_assertions)]
    let planted = PLANTED.set(plant).is_ok();
    #[cfg(not(debug_assertions))]
    let planted = {
        let _none: Plant = plant;
        false
    };
    planted
}

/// Whether the fault occurs now: true at every `every`-th call if the fault was activated.
#[cfg(not(debug_assertions))]
pub fn strikes(_: Plant, _every: u64) -> bool {
    false
}

/// Whether the fault occurs now: true at every `every`-th call if the fault was activated.
#[cfg(debug_assertions)]
pub fn strikes(plant: Plant, every: u64) -> bool {
    use std::sync::atomic::{AtomicU64, Ordering};

    static CALLS: AtomicU64 = AtomicU64::new(0);
    PLANTED.get() == Some(&plant)
        && (CALLS.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every)
}
