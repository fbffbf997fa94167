//! Arguments and answers of `memory/*`: the team's shared memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PutMemory {
    /// At most 256 bytes. A team can have 256 keys.
    pub key: String,
    /// At most 64 KiB as JSON.
    #[cfg_attr(test, schemars(with = "serde_json::Value"))]
    pub value: Box<RawValue>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GetMemory {
    /// `None`: all keys.
    #[serde(default)]
    pub key: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Memory {
    #[cfg_attr(test, schemars(with = "BTreeMap<String, serde_json::Value>"))]
    pub values: BTreeMap<String, Box<RawValue>>,
}
