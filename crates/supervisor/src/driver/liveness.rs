//! Liveness of connected workers: a worker that leaves a frame unanswered is pinged, and after two missed pings it is
//! marked unresponsive.
//!
//! ```text
//!   Quiet ──sent something──▶ Awaiting ──5 s──▶ Pinged ──5 s──▶ Pinged again ──5 s──▶ Unresponsive
//!     ▲                          │                │                │                     │
//!     └──────────────────────────┴── any frame ───┴────────────────┴─────────────────────┘
//! ```
//! An unresponsive member is shown and reported; it is never killed for it.

use agent_team_core::{Input, Tick};
use agent_team_protocol::notification::Ping;
use agent_team_protocol::{LaunchId, rpc};

use super::Driver;
use super::launches::LaunchRuntime;

/// Timeout in milliseconds, both for a frame before the worker is pinged and for each ping.
const PING_TIMEOUT_MS: u64 = 5_000;

/// Number of unanswered pings after which a member is unresponsive.
const MISSES_MAX: u32 = 2;

/// Liveness of one worker. Only a worker with an unanswered frame has a deadline, so an idle team sets no timer.
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

impl Driver {
    pub(super) fn note_activity(&mut self, launch: &LaunchId) {
        if let Some(runtime) = self.launches.get_mut(launch) {
            runtime.liveness = Liveness::Quiet;
        }
    }

    pub(super) fn liveness_deadline(&self) -> Option<Tick> {
        self.launches
            .values()
            .filter_map(|runtime| match runtime.liveness {
                Liveness::Awaiting { ping_at: at } | Liveness::Pinged { miss_at: at, .. } => {
                    Some(at)
                }
                Liveness::Quiet | Liveness::Unresponsive => None,
            })
            .min()
    }

    /// Pings workers whose deadline has passed, and counts missed pings.
    pub(super) fn check_liveness(&mut self) {
        let now = self.now();
        let mut unresponsive = Vec::new();
        for (launch, runtime) in &mut self.launches {
            let misses = match runtime.liveness {
                Liveness::Awaiting { ping_at } if ping_at <= now => 0,
                Liveness::Pinged { miss_at, misses } if miss_at <= now => misses + 1,
                Liveness::Quiet
                | Liveness::Unresponsive
                | Liveness::Awaiting { .. }
                | Liveness::Pinged { .. } => continue,
            };
            runtime.liveness = if misses >= MISSES_MAX {
                unresponsive.push(launch.clone());
                Liveness::Unresponsive
            } else {
                if let Some(connection) = &runtime.connection {
                    let call = rpc::Call {
                        team: None,
                        key: None,
                        args: Ping {
                            launch: launch.clone(),
                        },
                    };
                    let ping = rpc::request::<agent_team_protocol::method::MemberPing>(0, &call);
                    // A full queue means that the worker does not read. The ping counts as missed like any other.
                    let _full = connection.outbox.send(ping);
                }
                Liveness::Pinged {
                    miss_at: now.after_ms(PING_TIMEOUT_MS),
                    misses,
                }
            };
        }
        for launch in unresponsive {
            tracing::warn!(%launch, "worker is unresponsive");
            self.step(Input::Unresponsive { launch });
        }
    }
}

impl LaunchRuntime {
    pub(super) fn expect_answer(&mut self, now: Tick) {
        if self.liveness == Liveness::Quiet {
            self.liveness = Liveness::Awaiting {
                ping_at: now.after_ms(PING_TIMEOUT_MS),
            };
        }
    }
}
