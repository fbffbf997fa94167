//! Guarantees of the store, on real files with the real SQLite.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, in its helpers too"
)]
#![expect(
    clippy::print_stderr,
    reason = "a test that cannot be tried on this machine says so"
)]

mod damage;
mod disk_full;
mod history;
mod journal;
mod lock;
mod moved;
mod rig;
