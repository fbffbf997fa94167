//! Limits the requests of one client per second, so that a client in an endless loop leaves room for others. Called for
//! each request of a permitted origin, after the lookup of its token.
//!
//! A client is an address and a token. Requests without a valid token share one limit per address, which the requests
//! with a token do not use.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Requests per second that `agent-team serve` permits without `--rate-limit`.
pub const RATE_DEFAULT: NonZeroU32 = NonZeroU32::new(1000).expect("the rate is not zero");

/// A client that was silent may send this many seconds' worth of requests at once.
const BURST_SECONDS: f64 = 2.0;

/// Maximum number of clients that have a limit of their own. All further clients share one limit.
const CLIENTS_MAX: usize = 4096;

/// The sender of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RateKey {
    /// `None`: a Unix socket.
    pub(crate) peer: Option<IpAddr>,
    /// The number of the token in the token file. `None`: no valid token.
    pub(crate) token: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct RateLimit {
    per_second: f64,
    /// The remaining allowance of each client.
    clients: Mutex<HashMap<RateKey, Allowance>>,
}

#[derive(Debug, Clone, Copy)]
struct Allowance {
    requests: f64,
    at: Instant,
}

impl RateLimit {
    pub(crate) fn new(per_second: NonZeroU32) -> Self {
        Self {
            per_second: per_second.get().into(),
            clients: Mutex::default(),
        }
    }

    /// Counts a request. Returns false if the client has sent too many.
    pub(crate) fn admits(&self, client: RateKey, now: Instant) -> bool {
        let full = self.per_second * BURST_SECONDS;
        let refilled = |allowance: &Allowance| {
            let seconds = now.saturating_duration_since(allowance.at).as_secs_f64();
            (allowance.requests + seconds * self.per_second).min(full)
        };
        // A panic leaves each allowance valid.
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let mut client = client;
        if clients.len() >= CLIENTS_MAX && !clients.contains_key(&client) {
            clients.retain(|_, allowance| refilled(allowance) < full);
            if clients.len() >= CLIENTS_MAX {
                client = RateKey {
                    peer: None,
                    token: None,
                };
            }
        }
        let requests = clients.get(&client).map_or(full, refilled);
        let is_admitted = requests >= 1.0;
        let requests = if is_admitted {
            requests - 1.0
        } else {
            requests
        };
        clients.insert(client, Allowance { requests, at: now });
        is_admitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn client(last: u8, token: Option<usize>) -> RateKey {
        let peer = Some(IpAddr::from([10, 0, 0, last]));
        RateKey { peer, token }
    }

    #[test]
    fn a_client_may_send_a_burst_and_then_its_rate() {
        let limit = RateLimit::new(NonZeroU32::new(10).unwrap());
        let (one, now) = (client(1, Some(0)), Instant::now());
        let sent = |now| (0..100).filter(|_| limit.admits(one, now)).count();
        assert_eq!(sent(now), 20);
        assert_eq!(sent(now), 0);
        assert_eq!(sent(now + Duration::from_millis(500)), 5);
        assert_eq!(sent(now + Duration::from_secs(3600)), 20);
    }

    #[test]
    fn clients_do_not_use_each_others_allowance() {
        let limit = RateLimit::new(NonZeroU32::MIN);
        let now = Instant::now();
        for other in [client(1, None), client(1, Some(1)), client(2, Some(0))] {
            while limit.admits(other, now) {}
        }
        assert!(limit.admits(client(1, Some(0)), now));
    }

    #[test]
    fn many_addresses_cost_bounded_memory() {
        let limit = RateLimit::new(NonZeroU32::MIN);
        let now = Instant::now();
        for number in 0..20_000_u32 {
            let peer = Some(IpAddr::from(number.to_be_bytes()));
            limit.admits(RateKey { peer, token: None }, now);
        }
        assert!(limit.clients.lock().unwrap().len() <= CLIENTS_MAX + 1);
    }
}
