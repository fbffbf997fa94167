//! The guarantees of an agent, tested with a scripted model, scripted tools and a scripted supervisor over the real
//! socket.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod calls;
mod compact;
mod delegate;
mod hooks;
mod interrupt;
mod pane;
mod resume;
#[expect(dead_code, reason = "the worker's tests use the rest")]
#[path = "../worker/rig.rs"]
mod rig;
mod rounds;
mod scene;
mod scripted;
mod turn;
#[expect(dead_code, reason = "the worker's tests use the rest")]
#[path = "../worker/wire.rs"]
mod wire;
