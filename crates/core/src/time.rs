//! Time and randomness, as inputs.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use agent_team_protocol::id::LaunchId;

/// Milliseconds of the monotonic clock. Ticks are comparable across restarts of the supervisor, but not across reboots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tick(pub u64);

impl Tick {
    #[must_use]
    pub fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`; 0 if `earlier` is the later tick.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The time of an input, and the randomness for the decision on it.
#[derive(Debug, Clone, Copy)]
pub struct InputContext {
    pub now: Tick,
    /// Unix time in milliseconds, for display only.
    pub wall: u64,
    /// Fresh random bits for this input; everything random in the decision is derived from them.
    pub seed: [u8; 32],
}

/// A launch's identity and secret.
#[derive(Debug)]
pub(crate) struct NewLaunch {
    pub(crate) launch: LaunchId,
    /// 256 bits in hexadecimal, given only to the worker.
    pub(crate) token: String,
    /// The hash that the journal stores.
    pub(crate) token_hash: TokenHash,
}

/// SHA-256 of a launch's token, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenHash(String);

impl TokenHash {
    pub fn of(token: &str) -> Self {
        Self(hex(&Sha256::digest(token.as_bytes())))
    }

    /// The hash as bytes, for a comparison in constant time.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl InputContext {
    /// The `n`th launch that this input starts.
    pub(crate) fn new_launch(&self, n: u64) -> NewLaunch {
        let id = self.derive("launch", n);
        let token = hex(&self.derive("token", n));
        NewLaunch {
            launch: LaunchId::from_bits(u128::from_be_bytes(
                id[..16].try_into().expect("16 of 32 bytes"),
            )),
            token_hash: TokenHash::of(&token),
            token,
        }
    }

    /// A random delay of at most a fifth of `ms`, which the caller adds to `ms`.
    pub(crate) fn jitter(&self, n: u64, ms: u64) -> u64 {
        let bits = self.derive("jitter", n);
        let draw = u64::from_be_bytes(bits[..8].try_into().expect("8 of 32 bytes"));
        draw % (ms / 5 + 1)
    }

    fn derive(&self, purpose: &str, n: u64) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update(purpose.as_bytes());
        hash.update(n.to_be_bytes());
        hash.finalize().into()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String cannot fail");
            text
        })
}
