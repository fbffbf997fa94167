//! Arguments and answers of `event/*`.

use serde::{Deserialize, Serialize};

use crate::id::Revision;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Subscribe {
    /// The last revision already seen; 0 for all.
    pub after: Revision,
    /// Also the transient ones: output of tasks.
    pub transient: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SubscribeAnswer {
    /// The newest revision when the call was taken.
    pub head: Revision,
}
