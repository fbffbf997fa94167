//! Liveness of one connected worker: a worker that leaves a frame unanswered is pinged, and after two missed pings it
//! is unresponsive.
//!
//! ```text
//!   Quiet ───sent a frame───▶ Awaiting ──5 s──▶ Pinged ──5 s──▶ Pinged again ──5 s──▶ Unresponsive
//!     ▲                          │                │                │                     │
//!     └──────────────────────────┴── any frame ───┴────────────────┴─────────────────────┘
//! ```
//! A member is shown and reported as unresponsive, but never killed for that reason.

use agent_team_core::{Tick, Timer};
use agent_team_protocol::LaunchId;

/// How long a worker may leave a frame unanswered before it is pinged, and how long it may take to answer a ping.
const PING_TIMEOUT_MS: u64 = 5_000;

/// Number of unanswered pings after which a member is unresponsive.
const MISSES_MAX: u32 = 2;

/// Liveness of one worker. Only a worker with an unanswered frame has a timer, so an idle team sets none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    Quiet,
    /// A frame was sent to the worker and is unanswered.
    Awaiting {
        ping_at: Tick,
    },
    Pinged {
        miss_at: Tick,
        misses: u32,
    },
    Unresponsive,
}

/// The action that is due when a worker's timer expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    Ping,
    Unresponsive,
}

impl Liveness {
    /// Records that a frame was sent to the worker.
    pub(super) fn expect_answer(&mut self, now: Tick) {
        if *self == Self::Quiet {
            *self = Self::Awaiting {
                ping_at: now.after_ms(PING_TIMEOUT_MS),
            };
        }
    }

    pub(super) fn timer(self, launch: &LaunchId) -> Option<(Tick, Timer<'_>)> {
        match self {
            Self::Awaiting { ping_at } => Some((ping_at, Timer::Ping(launch))),
            Self::Pinged { miss_at, .. } => Some((miss_at, Timer::PingTimeout(launch))),
            Self::Quiet | Self::Unresponsive => None,
        }
    }

    /// Advances the state if its timer has expired.
    pub(super) fn check(&mut self, now: Tick) -> Option<Overdue> {
        let misses = match *self {
            Self::Awaiting { ping_at } if ping_at <= now => 0,
            Self::Pinged { miss_at, misses } if miss_at <= now => misses + 1,
            Self::Quiet | Self::Unresponsive | Self::Awaiting { .. } | Self::Pinged { .. } => {
                return None;
            }
        };
        if misses >= MISSES_MAX {
            *self = Self::Unresponsive;
            return Some(Overdue::Unresponsive);
        }
        *self = Self::Pinged {
            miss_at: now.after_ms(PING_TIMEOUT_MS),
            misses,
        };
        Some(Overdue::Ping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_missed_pings_make_a_worker_unresponsive() {
        let launch = LaunchId::from_bits(1);
        let mut liveness = Liveness::Quiet;
        liveness.expect_answer(Tick(0));
        liveness.expect_answer(Tick(4_000));
        assert_eq!(
            liveness.timer(&launch),
            Some((Tick(5_000), Timer::Ping(&launch))),
            "a second frame postpones the ping"
        );
        assert_eq!(liveness.check(Tick(4_999)), None);
        assert_eq!(liveness.check(Tick(5_000)), Some(Overdue::Ping));
        assert_eq!(
            liveness.timer(&launch),
            Some((Tick(10_000), Timer::PingTimeout(&launch)))
        );
        assert_eq!(liveness.check(Tick(10_000)), Some(Overdue::Ping));
        assert_eq!(liveness.check(Tick(15_000)), Some(Overdue::Unresponsive));
        assert_eq!(liveness.timer(&launch), None);
        liveness.expect_answer(Tick(16_000));
        assert_eq!(
            liveness,
            Liveness::Unresponsive,
            "this state ends without a received frame"
        );
    }
}
