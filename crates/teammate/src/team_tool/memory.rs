//! `remember` and `recall`: JSON by key that the whole team sees, fresh for each run.

use std::sync::Arc;

use agent_team_protocol::method::{GetMemory, MemoryGet, MemoryPut, PutMemory};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Seat, changing, reading};
use crate::tool::{Tool, ToolError};

pub(super) fn tools(seat: &Arc<Seat>) -> [Box<dyn Tool>; 2] {
    [
        changing(
            seat,
            "remember",
            "Stores a value in the team's shared memory under a key, in place of what was there. Every member can \
             recall it. For facts and decisions that others need; work goes on the board.",
            remember,
        ),
        reading(
            seat,
            "recall",
            "What the team's shared memory holds: the value of one key, or everything without a key.",
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

async fn remember(seat: Arc<Seat>, args: Remember) -> Result<String, ToolError> {
    let value = serde_json::value::to_raw_value(&args.value)
        .map_err(|error| ToolError::Input(format!("`value`: {error}")))?;
    let key = args.key.clone();
    seat.call::<MemoryPut>(PutMemory { key, value }).await?;
    Ok(format!("Remembered {:?}.", args.key))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Recall {
    /// Left out: everything.
    key: Option<String>,
}

async fn recall(seat: Arc<Seat>, args: Recall) -> Result<String, ToolError> {
    let key = args.key.clone();
    let memory = seat.call::<MemoryGet>(GetMemory { key }).await?;
    match args.key {
        Some(key) => match memory.values.get(&key) {
            Some(value) => Ok(value.get().to_owned()),
            None => Err(ToolError::Failed(format!(
                "Nothing is remembered under {key:?}. Without a key, recall gives everything."
            ))),
        },
        None if memory.values.is_empty() => Ok("Nothing is remembered yet.".to_owned()),
        None => serde_json::to_string(&memory.values)
            .map_err(|error| ToolError::Failed(error.to_string())),
    }
}
