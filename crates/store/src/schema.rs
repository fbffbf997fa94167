//! The tables and their version. Called when a database is opened.
//!
//! To change the schema, or to add a kind of event, append a file to [`MIGRATIONS`], even an empty one. Its position is
//! the new version, so that an older build reports a newer database instead of failing on unknown content. A released
//! file is never edited.

use rusqlite::{Connection, TransactionBehavior};

use crate::read::ReadError;

/// "ATjn": lets `file` and this program recognise the database.
const APPLICATION_ID: i32 = 0x4154_6a6e;

const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/001-journal.sql"),
    include_str!("../migrations/002-tasks-kept.sql"),
    include_str!("../migrations/003-transcripts.sql"),
];

/// The version that this build writes.
pub(crate) const VERSION: usize = MIGRATIONS.len();

/// The content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A database without content.
    Blank,
    /// A journal of this program, at this version.
    Journal(usize),
    Foreign,
}

pub(crate) fn kind(connection: &Connection) -> Result<Kind, ReadError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (application, usize::try_from(version)) {
        (0, Ok(0)) if tables == 0 => Kind::Blank,
        (APPLICATION_ID, Ok(version)) if version > 0 => Kind::Journal(version),
        _ => Kind::Foreign,
    })
}

/// Brings the database to [`VERSION`], in one transaction.
pub(crate) fn migrate(connection: &mut Connection, from: usize) -> rusqlite::Result<()> {
    if from == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in &MIGRATIONS[from..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    let version = i32::try_from(VERSION).expect("there are few migrations");
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}
