//! Orders from a supervisor to the process that hosts members: one order per connection, as one line of JSON.
//!
//! Hosted members connect to the supervisor like all other members, each over its own connection.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::LaunchId;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HostOrder {
    /// Start a member with this launch file. Answered with [`HostAnswer`].
    Start { file: PathBuf },
    /// Close the connection as soon as no thread of this launch runs in the process.
    Watch { launch: LaunchId },
    /// Like `Watch`, and terminate the member immediately.
    End { launch: LaunchId },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HostAnswer {
    /// The host's pid.
    pub pid: u32,
    /// As in [`crate::notification::TaskSession`].
    pub start_time: u64,
    /// Why the member was not started.
    #[serde(default)]
    pub failed: Option<String>,
}
