//! How the journal stores values whose form on the wire differs.

use serde::{Deserialize, Serialize};

use agent_team_protocol::value::Usage;

/// For serde: whether the stored form leaves out a field with this value.
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
