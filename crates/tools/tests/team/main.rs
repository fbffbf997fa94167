//! Tests of the team tools as a model calls them, with a scripted supervisor.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod board;
mod messages;
mod prompt;
mod rig;
mod schemas;
mod waiting;
