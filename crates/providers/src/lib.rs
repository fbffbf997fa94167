//! Model providers as bare data: the table of providers, and the names of their models.
//!
//! The crates `team-file`, `supervisor`, `llm` and `teammate` read the same table. The table is in a separate crate
//! below `llm`, so that the supervisor knows which variables contain keys without linking an HTTP client. Nothing here
//! does I/O.
//!
//! - `table`: one row per provider
//! - `effort`: which models receive an effort, and in which field
//! - `name`: `provider/model` and its other spellings

pub mod effort;
mod name;
mod table;

pub use effort::EffortField;
pub use name::{ModelName, ModelNameError};
pub use table::{PROVIDERS, Provider, Quirks, WindowReport, affects_keys, holds_key};
