//! The operating system, and the only crate that may contain `unsafe`.
//!
//! Other crates reach processes, sockets, terminals, locks, directories, signals and time through this crate. Code that
//! differs between systems is in one module, `os`; `os/linux.rs` and `os/macos.rs` export the same names.
//!
//! Where to look:
//! - process identity and exit: [`process`]; ending all processes of a launch: [`tree`]
//! - starting programs: [`spawn`] (daemons, sessions), [`pty`] (with their own terminal), [`sibling_binary`] (finding
//!   programs of agent-team), [`inherited_env`]
//! - restricting programs: [`sandbox`], [`limits`], [`cgroup`]
//! - the user's terminal: [`terminal`]; signals to this process: [`signals`]
//! - files and directories: [`directories`], [`private_file`], [`log_file`], [`lock`], [`disk`], [`history`], [`path`],
//!   [`beneath`] (opening without following links), [`regular_file`], [`notes`]
//! - the connection to the supervisor: [`socket`], [`connection`] (frames), [`announcement`] (finding it)
//! - time: [`clock`]; pauses between attempts: [`backoff`]; randomness: [`random`]
//! - open descriptors and their limit: [`descriptors`]
//! - digests of trusted scripts: [`trusted`]; of the files of skills: [`skill_files`]
//! - faults that only debug builds contain: [`planted`]
//!
//! A function that returns `io::Result` fails with the error of the system call that it makes. A section "Errors" lists
//! other causes.
//!
//! This crate decides nothing about teams: it knows no members, tasks or restarts. Of a launch, it knows only the
//! processes and the control group.

#![deny(unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks)]

pub mod announcement;
pub mod backoff;
pub mod beneath;
pub mod cgroup;
pub mod clock;
pub mod connection;
pub mod descriptors;
pub mod directories;
pub mod disk;
pub mod history;
pub mod inherited_env;
pub mod limits;
pub mod lock;
pub mod log_file;
pub mod notes;
#[cfg_attr(target_os = "linux", path = "os/linux.rs")]
#[cfg_attr(target_os = "macos", path = "os/macos.rs")]
mod os;
pub mod path;
pub mod planted;
pub mod private_file;
pub mod process;
pub mod pty;
pub mod random;
mod readiness;
pub mod regular_file;
pub mod sandbox;
pub mod sibling_binary;
pub mod signals;
pub mod skill_files;
pub mod socket;
pub mod spawn;
pub mod terminal;
pub mod tree;
pub mod trusted;
