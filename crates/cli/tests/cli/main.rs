//! Runs the real binary: without a supervisor, and with a fake one. The package `tests` runs it with the real
//! supervisor.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod completion;
mod init_from;
mod rig;
mod terminal;
mod with_supervisor;
mod without_supervisor;
