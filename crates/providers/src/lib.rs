//! Model providers as bare data: the table of providers, and the names of their models.
//!
//! The crates `team-file`, `supervisor`, `llm` and `teammate` read the same table. The table is in a separate crate
//! below `llm`, so that the supervisor knows which variables contain keys without linking an HTTP client. Nothing here
//! does I/O.
//!
//! - `table`: one row per provider
//! - `name`: `provider/model` and its other spellings

mod name;
mod table;

pub use name::{ModelName, ModelNameError};
pub use table::{EffortField, PROVIDERS, Provider, Quirks, WindowReport, affects_keys, holds_key};
