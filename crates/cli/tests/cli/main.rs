//! The real binary: alone, and with a supervisor that this test plays. The real one is tested in the package `tests`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod alone;
mod conversation;
mod rig;
mod terminal;
