//! The supervisor: the daemon that owns the teams and is the only writer of their journals.
//!
//! `boot` runs it as a daemon, `embed` inside another program. `server` accepts connections and routes calls, `teams`
//! opens the teams. Each team has a `driver`, the tokio task that owns its state, and a launcher (`launch`) that starts
//! its workers and shows them in panes. The crate links no model, TLS or web code, so that a tool or a provider can
//! never take the supervisor down.

mod backend_report;
mod boot;
mod client_event;
mod committer;
mod convert;
mod driver;
pub mod embed;
mod environment;
mod failpoints;
mod hooks;
mod host;
pub mod in_memory;
mod launch;
mod log;
pub mod machine;
mod outbox;
mod parsed_settings;
mod permission;
mod program;
mod server;
mod settings;
mod settings_file;
mod socket_server;
mod teams;
mod view;

pub use boot::run;
pub use failpoints::crash_at;
pub use program::main;
