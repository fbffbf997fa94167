//! What a supervisor says to the process that hosts members: one order over each connection, as one line of JSON.
//!
//! The members themselves speak to the supervisor as all do, each over a connection of its own.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::LaunchId;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HostOrder {
    /// Takes this launch file, and works. Answered with [`HostAnswer`].
    Start { file: PathBuf },
    /// The connection ends when nothing of this launch runs in the process any more.
    Watch { launch: LaunchId },
    /// The same, and the member is cut off where it stands.
    End { launch: LaunchId },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HostAnswer {
    /// The host's.
    pub pid: u32,
    /// As in [`crate::notification::TaskSession`].
    pub start_time: u64,
    /// Why nobody was started.
    #[serde(default)]
    pub failed: Option<String>,
}
