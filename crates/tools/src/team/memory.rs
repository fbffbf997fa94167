//! `remember` and `recall`: JSON values by key, shared by the whole team. Each run starts with the initial values of
//! the memory; earlier contents are dropped.

use std::sync::Arc;

use agent_team_protocol::method::{GetMemory, MemoryGet, MemoryPut, PutMemory};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::context::{TeamContext, changing, reading};
use crate::tool::{Tool, ToolError};

pub(super) fn tools(team_context: &Arc<TeamContext>) -> [Box<dyn Tool>; 2] {
    [
        changing(
            team_context,
            "remember",
            "Store a value in the team's shared memory under a key; replaces the previous value. Every member can \
             recall it. Use it for facts and decisions that others need; put work on the board.",
            remember,
        ),
        reading(
            team_context,
            "recall",
            "Read the team's shared memory: the value of one key, or everything without a key.",
            recall,
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Remember {
    /// At most 256 bytes, such as `api/base-path`.
    key: String,
    /// Any JSON, at most 64 KiB.
    value: Value,
}

async fn remember(team_context: Arc<TeamContext>, args: Remember) -> Result<String, ToolError> {
    let value = serde_json::value::to_raw_value(&args.value)
        .map_err(|error| ToolError::Input(format!("`value`: {error}")))?;
    let key = args.key.clone();
    team_context
        .call::<MemoryPut>(PutMemory { key, value })
        .await?;
    Ok(format!("Stored {:?}.", args.key))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Recall {
    /// Omit it to read everything.
    key: Option<String>,
}

async fn recall(team_context: Arc<TeamContext>, args: Recall) -> Result<String, ToolError> {
    let key = args.key.clone();
    let memory = team_context.call::<MemoryGet>(GetMemory { key }).await?;
    match args.key {
        Some(key) => match memory.values.get(&key) {
            Some(value) => Ok(value.get().to_owned()),
            None => Err(ToolError::Failed(format!(
                "Nothing is stored under {key:?}. Call recall without a key to read everything."
            ))),
        },
        None if memory.values.is_empty() => Ok("The shared memory is empty.".to_owned()),
        None => serde_json::to_string(&memory.values)
            .map_err(|error| ToolError::Failed(error.to_string())),
    }
}
