//! The limit of stored rows per second: a loop that writes the supervisor's rows again, without the supervisor.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params_from_iter};

use super::rig::Durability;

/// Number of rows that a loop writes, unless [`LONGEST`] passes first. The number is large, so that one slow sync does
/// not dominate.
const ROWS: usize = 20_000;

/// Maximum duration of a loop.
const LONGEST: Duration = Duration::from_secs(2);

/// Rows of a journal, and the schema of their table.
pub(super) struct Rows {
    schema: Vec<String>,
    columns: usize,
    rows: Vec<Vec<Value>>,
}

impl Rows {
    /// Reads the newest rows of a team's journal.
    pub(super) fn newest(database: &Path, count: usize) -> Result<Self> {
        let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .with_context(|| format!("cannot read {}", database.display()))?;
        let schema = connection
            .prepare(
                "SELECT sql FROM sqlite_schema WHERE tbl_name = 'journal' AND sql IS NOT NULL",
            )?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let mut statement =
            connection.prepare("SELECT * FROM journal ORDER BY revision DESC LIMIT ?1")?;
        let columns = statement.column_count();
        let rows: Vec<Vec<Value>> = statement
            .query_map([i64::try_from(count)?], |row| {
                (0..columns).map(|column| row.get(column)).collect()
            })?
            .collect::<rusqlite::Result<_>>()?;
        ensure!(!rows.is_empty(), "the journal is empty");
        Ok(Self {
            schema,
            columns,
            rows,
        })
    }

    /// Writes the rows to a new database, `batch` per transaction; returns rows per second.
    pub(super) fn written_per_second(
        &self,
        directory: &Path,
        batch: usize,
        durability: Durability,
    ) -> Result<f64> {
        let directory = tempfile::tempdir_in(directory)?;
        let mut connection = Connection::open(directory.path().join("limit.db"))?;
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        let synchronous = match durability {
            Durability::Power => "full",
            Durability::Process => "normal",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        for statement in &self.schema {
            connection.execute_batch(statement)?;
        }
        let parameters = vec!["?"; self.columns].join(", ");
        let insert = format!("INSERT INTO journal VALUES ({parameters})");
        let (started, mut written) = (Instant::now(), 0);
        let mut rows = self.rows.iter().cycle();
        while written < ROWS && started.elapsed() < LONGEST {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut statement = transaction.prepare_cached(&insert)?;
            for row in rows.by_ref().take(batch.max(1)) {
                written += 1;
                // The first column is the revision, which must be unique: replace it by a counter.
                let revision = Value::Integer(i64::try_from(written)?);
                statement.execute(params_from_iter(
                    std::iter::once(&revision).chain(&row[1..]),
                ))?;
            }
            drop(statement);
            transaction.commit()?;
        }
        Ok(written as f64 / started.elapsed().as_secs_f64())
    }
}
