//! Guarantees of the store, on real files with the real SQLite.

#![expect(
    clippy::unwrap_used,
    reason = "a panic fails the test, also in helpers"
)]
#![expect(clippy::print_stderr, reason = "a skipped test prints why")]

mod damage;
mod disk_full;
mod history;
mod journal;
mod lock;
mod moved;
mod rig;
