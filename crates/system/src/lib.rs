//! The operating system, and the only crate that may contain `unsafe`.
//!
//! Everybody else asks here for whatever a kernel must be asked for: who a process is and when it
//! ends, sockets, terminals, locks, directories, signals, time. What differs between systems is in
//! one module, `os`, whose twins (`os/linux.rs`, `os/macos.rs`) export the same names.
//!
//! A reader who looks for …
//! - who a process is, and waiting for its end: [`process`]; ending all that a launch started: [`tree`]
//! - starting programs: [`spawn`] (daemons, sessions), [`pty`] (with a terminal of their own)
//! - holding a program to what it may do: [`sandbox`]
//! - the person's own terminal: [`terminal`]; signals to this process: [`signals`]
//! - files and places: [`directories`], [`private_file`], [`log_file`], [`lock`], [`disk`]
//! - talking to the supervisor: [`socket`], [`connection`] (frames), [`client`] (calls), [`daemon`]
//!   (finding and starting it)
//! - time: [`clock`]; how many descriptors there are: [`descriptors`]
//! - faults that test builds contain: [`planted`]
//!
//! This crate decides nothing about teams: it has no notion of members, tasks or restarts.

#![deny(unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks)]

pub mod cgroup;
pub mod client;
pub mod clock;
pub mod connection;
pub mod daemon;
pub mod descriptors;
pub mod directories;
pub mod disk;
pub mod history;
pub mod limits;
pub mod lock;
pub mod log_file;
#[cfg_attr(target_os = "linux", path = "os/linux.rs")]
#[cfg_attr(target_os = "macos", path = "os/macos.rs")]
mod os;
pub mod path;
pub mod planted;
pub mod private_file;
pub mod process;
pub mod pty;
mod readiness;
pub mod sandbox;
pub mod signals;
pub mod socket;
pub mod spawn;
pub mod terminal;
pub mod tree;
pub mod trusted;
