//! What a worker promises, tried with the real program, real terminals and a supervisor that follows a script.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod connection;
mod life;
mod pane;
mod rig;
mod task;
mod wire;
