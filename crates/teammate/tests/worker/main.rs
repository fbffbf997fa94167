//! The guarantees of a worker, tested with the real program, real terminals and a scripted supervisor.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod connection;
mod keys;
mod life;
mod pane;
mod rig;
mod task;
mod wire;
