//! The code that all clients of the supervisor share. Used by the command line, the workers, the library and the tests.
//!
//! Where to look:
//! - calls that survive a lost connection or a restart of the supervisor, and following events: [`Session`],
//!   [`Subscription`]
//! - concurrent calls over one connection, by the names of their methods: [`SharedSession`]
//! - notices as AG-UI events: [`Envelopes`]
//! - the denied calls of a run: [`DeniedCalls`]
//! - what each member did and when: [`spans`]
//! - names for the completion of a prompt: [`names`]
//! - the text of a slash command from a file: [`command_file`]
//! - JSON-RPC over the pipes of an agent or an editor: [`json_rpc`]
//! - finding the supervisor, and starting it if none runs: [`connect()`], [`connect_or_start`]
//! - typed calls over one connection: [`Client`]
//!
//! This crate does not depend on a command line: it prints nothing, and its errors are types.

mod client;
pub mod command_file;
mod connect;
mod denied_calls;
mod envelopes;
pub mod json_rpc;
pub mod names;
mod session;
pub mod spans;

pub use client::{Arrival, CallError, Client, ConnectError, Disconnected, Handshake, Incoming};
pub use connect::{ConnectOrStartError, connect, connect_or_start};
pub use denied_calls::DeniedCalls;
pub use envelopes::Envelopes;
pub use session::error::SessionError;
pub use session::{Notice, Session, SharedSession, Subscription, Update};
