//! The supervisor: the daemon that owns the teams, and is the only one who writes.
//!
//! `boot` starts it and ends it as a process of its own, `embed` within another program's; `server` takes connections, `teams` knows which teams there are; each team has a
//! `driver`, the one task that owns its state, and a launcher (`launch`), which starts its workers and shows them.
//! It links no model, TLS or web code: a tool or a provider can never take it down.

mod boot;
mod committer;
mod convert;
mod driver;
pub mod embed;
mod environment;
mod failpoints;
mod hooks;
pub mod in_memory;
mod launch;
mod log;
pub mod machine;
mod outbox;
mod permission;
mod places;
mod server;
mod serving;
mod settings;
mod settings_file;
mod teams;
mod view;

pub use boot::run;
pub use failpoints::crash_at;
pub use places::tell_places;
