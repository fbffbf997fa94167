//! Pauses between repeated attempts. Called by the client, by the worker's link to the supervisor, by the supervisor
//! for MCP hosts, and by the clients of language models.
//!
//! This module only computes pauses: the caller counts its failures, waits, and decides when to give up. Restarts of
//! members have their own backoff in `core`, which does not link this crate and derives its jitter from the seed of an
//! input.

use std::time::Duration;

/// Pauses that double with each failure, from `first` to `longest`.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Backoff {
    /// The pause after this many consecutive failures; [`Duration::ZERO`] before the first.
    pub fn after(self, failures: u32) -> Duration {
        match failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => {
                let factor = 2_u32.saturating_pow(doublings);
                self.longest.min(self.first.saturating_mul(factor))
            }
        }
    }

    /// [`Self::after`], shortened at random by at most half, so that many callers do not repeat at the same moment.
    /// `chance` is in 0..1.
    pub fn jittered(self, failures: u32, chance: f64) -> Duration {
        self.after(failures).mul_f64(0.5 + 0.5 * chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_millis(50),
        longest: Duration::from_secs(30),
    };

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses = [0, 1, 2, 3, 10, 11, 60, u32::MAX].map(|failures| BACKOFF.after(failures));
        let ms = [0, 50, 100, 200, 25_600, 30_000, 30_000, 30_000];
        assert_eq!(pauses, ms.map(Duration::from_millis));
    }

    #[test]
    fn jitter_shortens_a_pause_by_at_most_half() {
        let jittered = [0.0, 0.5, 1.0].map(|chance| BACKOFF.jittered(3, chance));
        assert_eq!(jittered, [100, 150, 200].map(Duration::from_millis));
    }
}
