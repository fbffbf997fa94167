//! Model providers as bare data: the table of providers, and the names of their models.
//!
//! The team file, the supervisor and the model clients read the same table. It is a crate of its own, beneath `llm`, so
//! that the supervisor knows which variables contain keys without linking an HTTP client. Nothing here does I/O.
//!
//! - `table`: a row for each provider. A new provider is a new row.
//! - `name`: `provider/model` and its other spellings

mod name;
mod table;

pub use name::{ModelName, ModelNameError};
pub use table::{PROVIDERS, Provider, Quirks, Wire, holds_key, leads_keys};
