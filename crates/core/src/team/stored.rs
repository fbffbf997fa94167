//! The form in the journal of values that have another form on the wire.

use serde::{Deserialize, Serialize};

use agent_team_protocol::value::Usage;

/// Whether the stored form leaves out a field with this value. Called by serde.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The form of [`Usage`] in the journal, which omits `unpriced` if it is 0; the wire always contains it.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Usage")]
pub(crate) struct StoredUsage {
    input: u64,
    output: u64,
    cached: u64,
    micro_usd: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    unpriced: u64,
}
