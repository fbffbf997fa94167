//! The journal of one team and its read models, in SQLite. Only the supervisor calls this crate.
//!
//! ```text
//!            open(dir) ──► the state from the last snapshot and the journal after it
//!                │
//!   driver ── Batch ──► Writer (on Store's or the driver's thread) ── one transaction ──► team.db
//!      ▲                   │
//!      └── Committed ◄─────┘            History: read-only, beside the writer ──► pages, lists
//! ```
//!
//! The store never reports a batch as stored before it is stored. It never deletes or overwrites a database, and it
//! decides nothing about a team. Start reading at [`open`] and [`Writer::commit`].

mod disk_reserve;
mod history;
mod lock;
mod open;
mod open_error;
mod read;
mod schema;
mod store;
mod writer;

pub use history::{History, StoredMessage};
pub use lock::{Durability, is_locked};
pub use open::{Opened, identity, open};
pub use open_error::{OpenError, TeamIdentity};
pub use read::{JournalEntry, ReadError, Restored};
pub use store::{Sink, Store};
pub use writer::{Archived, Batch, CommitError, Committed, Writer};

/// The database's name in its team's directory.
pub const FILE_NAME: &str = "team.db";
