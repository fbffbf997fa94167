//! Faults for the torture's checkers to find. Called at the few places that a promise rests on.
//!
//! The program `agent-teamd-planted` of the `tests` package plants a fault before it runs the supervisor. No program
//! that is shipped calls [`plant`], and release builds contain none of the faults.

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

/// Makes this process contain the fault. False in a release build, which contains none.
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

/// Whether the fault happens now: each time that the count of its occasions is a multiple of `every`.
#[cfg(not(debug_assertions))]
pub fn strikes(_: Plant, _every: u64) -> bool {
    false
}

/// Whether the fault happens now: each time that the count of its occasions is a multiple of `every`.
#[cfg(debug_assertions)]
pub fn strikes(plant: Plant, every: u64) -> bool {
    use std::sync::atomic::{AtomicU64, Ordering};

    static OCCASIONS: AtomicU64 = AtomicU64::new(0);
    PLANTED.get() == Some(&plant)
        && (OCCASIONS.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every)
}
