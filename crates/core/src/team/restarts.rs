//! Restart limits: how often a member may crash before it is held, and the backoff between its restarts.

use serde::{Deserialize, Serialize};

use crate::time::{InputContext, Tick};

/// Maximum number of restarts within [`PERIOD_MS`]; the next crash holds the member.
pub const INTENSITY: usize = 5;

/// The sliding window, in milliseconds. If a member crashes at least this long after `ready_since`, a new streak
/// starts.
pub const PERIOD_MS: u64 = 60_000;

const BACKOFF_FIRST_MS: u64 = 500;
const BACKOFF_MAX_MS: u64 = 30_000;

/// The recent restarts of a member, and its current series of crashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarts {
    /// The times of the granted restarts, oldest first; for a restart after a backoff, its scheduled time. Each crash
    /// drops the restarts that are older than the window.
    pub granted: Vec<Tick>,
    /// The number of crashes in the current streak.
    pub streak: u32,
}

/// Whether and when a member restarts after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartDecision {
    /// Restart immediately (first crash).
    AtOnce,
    /// Restart at this time.
    After(Tick),
    /// Too many crashes within the window.
    Hold,
}

impl Restarts {
    /// Counts a crash. `ready_since`: see [`AfterLaunch::Recover`](crate::team::member::AfterLaunch::Recover).
    pub fn count(
        &self,
        context: &InputContext,
        ready_since: Option<Tick>,
    ) -> (Self, RestartDecision) {
        let now = context.now;
        let was_steady = ready_since.is_some_and(|since| now.since(since) >= PERIOD_MS);
        let streak = if was_steady { 1 } else { self.streak + 1 };
        let mut granted: Vec<Tick> = self
            .granted
            .iter()
            .copied()
            .filter(|at| now.since(*at) < PERIOD_MS)
            .collect();
        if granted.len() >= INTENSITY {
            return (Self { granted, streak }, RestartDecision::Hold);
        }
        let decision = if streak == 1 {
            RestartDecision::AtOnce
        } else {
            let backoff = (BACKOFF_FIRST_MS << (streak - 2).min(16)).min(BACKOFF_MAX_MS);
            RestartDecision::After(
                now.after_ms(backoff + context.jitter(u64::from(streak), backoff)),
            )
        };
        granted.push(match decision {
            RestartDecision::After(at) => at,
            RestartDecision::AtOnce | RestartDecision::Hold => now,
        });
        (Self { granted, streak }, decision)
    }

    /// The number of restarts within the window now.
    pub fn recent(&self, now: Tick) -> usize {
        self.granted
            .iter()
            .filter(|at| now.since(**at) < PERIOD_MS)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> InputContext {
        InputContext {
            now: Tick(ms),
            wall: 0,
            seed: [7; 32],
        }
    }

    #[test]
    fn restarts_after_the_first_are_delayed() {
        let (restarts, first) = Restarts::default().count(&at(0), None);
        assert_eq!(first, RestartDecision::AtOnce);
        let (restarts, second) = restarts.count(&at(10), None);
        let (_, third) = restarts.count(&at(20), None);
        assert!(
            matches!(second, RestartDecision::After(at) if (510..=610).contains(&at.0)),
            "{second:?}"
        );
        assert!(
            matches!(third, RestartDecision::After(at) if (1020..=1220).contains(&at.0)),
            "{third:?}"
        );
    }

    #[test]
    fn the_sixth_crash_within_a_minute_holds() {
        let mut restarts = Restarts::default();
        for death in 0..5 {
            let (counted, decision) = restarts.count(&at(death * 1_000), None);
            assert_ne!(decision, RestartDecision::Hold, "death {death}");
            restarts = counted;
        }
        assert_eq!(restarts.count(&at(59_999), None).1, RestartDecision::Hold);
        assert_ne!(restarts.count(&at(60_000), None).1, RestartDecision::Hold);
    }

    #[test]
    fn a_minute_of_uptime_resets_the_crash_count() {
        let (restarts, _) = Restarts::default().count(&at(0), None);
        let (restarts, _) = restarts.count(&at(1_000), None);
        assert_eq!(
            restarts.count(&at(70_000), Some(Tick(9_000))).1,
            RestartDecision::AtOnce
        );
        assert_ne!(
            restarts.count(&at(70_000), Some(Tick(11_000))).1,
            RestartDecision::AtOnce
        );
    }

    proptest! {
        #[test]
        fn restarts_never_exceed_the_intensity(gaps in prop::collection::vec(0_u64..30_000, 1..200)) {
            let (mut now, mut restarts, mut granted) = (0, Restarts::default(), Vec::new());
            for gap in gaps {
                now += gap;
                let (counted, decision) = restarts.count(&at(now), None);
                restarts = counted;
                match decision {
                    RestartDecision::AtOnce => granted.push(now),
                    RestartDecision::After(then) => { now = then.0; granted.push(now) }
                    // The user starts the member again, which resets the count.
                    RestartDecision::Hold => { restarts = Restarts::default(); granted.clear() }
                }
                let within = granted.iter().filter(|at| now - **at < PERIOD_MS).count();
                prop_assert!(within <= INTENSITY, "{within} restarts in a window");
            }
        }
    }
}
