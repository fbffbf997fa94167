//! Tests of this crate with real processes, terminals, sockets and files. Each test ends the processes that it started,
//! by pid.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod connection;
mod file;
mod process;
mod pty;
mod rig;
#[cfg(target_os = "linux")]
mod sandbox;
mod socket;
mod spawn;
mod terminal;
mod tree;
