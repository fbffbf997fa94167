//! Reads stored records. Called when a database is opened, and by [`crate::History`].
//!
//! A record that cannot be read is either damaged (the bytes are not what was written) or was written by another build
//! (it contains values that this build does not know). Only damage is a reason to set a database aside.

use agent_team_core::time::Tick;
use agent_team_core::{Event, Record};
use agent_team_protocol::id::Revision;
use agent_team_system::disk::FileIdentityError;
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row};
use serde::de::DeserializeOwned;

/// One stored event and its place in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    pub revision: Revision,
    /// Unix time in milliseconds.
    pub at: u64,
    /// `None`: another version of agent-team wrote the event, and this version cannot read it.
    pub event: Option<Event>,
}

/// The stored state, built from the records of the snapshot and the later records of the journal. The records are read
/// one at a time, and are never all in memory.
#[derive(Debug)]
pub struct Restored<T> {
    pub state: T,
    /// The newest stored revision; 0 when nothing is stored.
    pub revision: Revision,
    /// The number of journal records after the snapshot.
    pub since_snapshot: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the database is damaged: {0}")]
    Damaged(String),
    #[error("{place} was written by another version of agent-team")]
    Unknown {
        place: String,
        source: serde_json::Error,
    },
    #[error(transparent)]
    Moved(#[from] FileIdentityError),
    #[error("cannot read the database")]
    Sqlite(#[source] rusqlite::Error),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) {
            Self::Damaged(error.to_string())
        } else {
            Self::Sqlite(error)
        }
    }
}

/// Whether the error means that the content of the file is damaged: SQLite reports damage, or a row does not have the
/// form that this program writes.
fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    ) || matches!(
        error,
        E::QueryReturnedNoRows
            | E::FromSqlConversionFailure(..)
            | E::InvalidColumnType(..)
            | E::Utf8Error(..)
    )
}

pub(crate) fn restore<T: Default + Extend<Record>>(
    connection: &Connection,
) -> Result<Restored<T>, ReadError> {
    // Use one transaction for both reads: otherwise a concurrent writer could replace the snapshot between them.
    let transaction = connection.unchecked_transaction()?;
    let snapshot: u64 = transaction
        .query_row(
            "SELECT value FROM meta WHERE key = 'snapshot_revision'",
            [],
            |row| row.get::<_, i64>(0),
        )
        .optional()?
        .map_or(0, i64::cast_unsigned);
    let mut state = T::default();

    let mut select =
        transaction.prepare("SELECT place, at, tick, event, call FROM snapshot ORDER BY place")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        state.extend(Some(record(row, "snapshot, place")?));
    }

    let mut select = transaction.prepare(
        "SELECT revision, at, tick, event, call FROM journal WHERE revision > ?1 ORDER BY revision",
    )?;
    let mut rows = select.query([snapshot.cast_signed()])?;
    let mut revision = snapshot;
    while let Some(row) = rows.next()? {
        let found = row.get::<_, i64>(0)?.cast_unsigned();
        if found != revision + 1 {
            return Err(ReadError::Damaged(format!(
                "revision {found} follows revision {revision}"
            )));
        }
        state.extend(Some(record(row, "revision")?));
        revision = found;
    }

    if revision == snapshot && snapshot > 0 {
        let newest: Option<i64> =
            transaction.query_row("SELECT max(revision) FROM journal", [], |row| row.get(0))?;
        if newest != Some(snapshot.cast_signed()) {
            return Err(ReadError::Damaged(format!(
                "the journal does not reach its snapshot at {snapshot}"
            )));
        }
    }
    Ok(Restored {
        state,
        since_snapshot: revision - snapshot,
        revision: Revision(revision),
    })
}

/// The revision of the newest message, or 0.
pub(crate) fn newest_message(connection: &Connection) -> Result<i64, ReadError> {
    let select = "SELECT iif(parties IS NULL, message_before, revision) FROM journal ORDER BY revision DESC LIMIT 1";
    let newest = connection
        .query_row(select, [], |row| row.get(0))
        .optional()?;
    Ok(newest.unwrap_or(0))
}

/// Reads a record from the columns `id, at, tick, event, call`. `table` names the table in errors.
fn record(row: &Row<'_>, table: &str) -> Result<Record, ReadError> {
    let place = || {
        row.get::<_, i64>(0)
            .map_or_else(|_| table.to_owned(), |id| format!("{table} {id}"))
    };
    let call = row
        .get_ref(4)?
        .as_str_or_null()
        .map_err(|error| not_text(place(), &error))?;
    Ok(Record {
        at: row.get::<_, i64>(1)?.cast_unsigned(),
        tick: Tick(row.get::<_, i64>(2)?.cast_unsigned()),
        event: json(text(row, 3, place)?, place)?,
        call: call.map(|call| json(call, place)).transpose()?,
    })
}

pub(crate) fn text<'r>(
    row: &'r Row<'_>,
    column: usize,
    place: impl Fn() -> String,
) -> Result<&'r str, ReadError> {
    row.get_ref(column)?
        .as_str()
        .map_err(|error| not_text(place(), &error))
}

fn not_text(place: String, error: &FromSqlError) -> ReadError {
    ReadError::Damaged(format!("{place}: {error}"))
}

pub(crate) fn json<T: DeserializeOwned>(
    text: &str,
    place: impl Fn() -> String,
) -> Result<T, ReadError> {
    serde_json::from_str(text).map_err(|source| {
        if source.is_data() {
            ReadError::Unknown {
                place: place(),
                source,
            }
        } else {
            ReadError::Damaged(format!("{}: {source}", place()))
        }
    })
}
