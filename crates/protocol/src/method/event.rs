//! Arguments and answers of `event/*`.

use serde::{Deserialize, Serialize};

use crate::id::Revision;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Subscribe {
    /// The last revision already seen; 0 for all.
    pub after: Revision,
    /// Whether to send transient events too, such as the output of tasks.
    pub transient: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SubscribeAnswer {
    /// The newest revision at the time of the call.
    pub head: Revision,
}
