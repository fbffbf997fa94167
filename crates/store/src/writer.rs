//! The only writer of a team's journal. Runs on [`crate::Store`]'s thread, or on the driver's thread for the lowest
//! latency.
//!
//! A batch is one transaction: all of it is stored or nothing. `Ok` means that it is stored, at the path where the next
//! supervisor will look for it, as durably as the team requires. After a final error ([`CommitError::is_final`])
//! nothing more is stored. One reason: after a failed sync the kernel may have dropped the data, and a later sync still
//! reports success.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use agent_team_core::{Event, Record, TranscriptItems};
use agent_team_protocol::id::{Party, Revision, TaskId};
use agent_team_system::disk::{FileIdentity, FileIdentityError};
use agent_team_system::planted::{self, Plant};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};

use crate::disk_reserve::{self, DiskReserve};
use crate::lock::TeamLock;
use crate::read::{JournalEntry, ReadError, Restored, newest_message};

/// Pages in the write-ahead log after which a checkpoint copies them to the database.
const CHECKPOINT_PAGES: i32 = 1000;

/// How long a commit waits for another program that has locked the database. Meanwhile, the calls of clients wait for
/// the commit.
const LOCKED_LIMIT: Duration = Duration::from_millis(200);

/// The changes that the driver commits together.
#[derive(Debug)]
pub struct Batch {
    /// The revision of the first record: the successor of the newest stored revision.
    pub first: Revision,
    pub records: Vec<Record>,
    pub archived: Vec<Archived>,
    pub transcript_items: Vec<TranscriptItems>,
    /// A snapshot of the state after these records. It only speeds up the next start, so it is stored after the batch
    /// was answered, and dropped when the disk is full.
    pub snapshot: Option<Vec<Record>>,
    /// The batch must be stored even on a full disk, so it may use the disk reserve.
    pub urgent: bool,
}

/// A completed task, as clients will see it.
#[derive(Debug)]
pub struct Archived {
    pub task: TaskId,
    /// JSON of the protocol's `TaskView`.
    pub view: String,
}

/// The result of a stored batch.
#[derive(Debug)]
pub struct Committed {
    /// The newest stored revision.
    pub revision: Revision,
    /// The events of the batch, in order.
    pub entries: Vec<JournalEntry>,
    /// Records since the last attempt to store a snapshot.
    pub since_snapshot: u64,
    pub took: Duration,
}

/// Why a batch was not stored. Nothing of it was acknowledged; after `Moved`, `Broken` and `Panicked` it may still be
/// on disk.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    #[error("cannot store in {}: the disk is full", .0.display())]
    Full(PathBuf),
    /// Final.
    #[error("cannot store: the team's database was moved or deleted")]
    Moved(#[source] Arc<FileIdentityError>),
    /// Final: a write or a sync failed, or the file is damaged. Reopen it in another process.
    #[error("cannot store in {}: the disk reported an error, or the file is damaged", .file.display())]
    Broken {
        file: PathBuf,
        source: Arc<rusqlite::Error>,
        /// Whether writing this batch failed. Otherwise an earlier batch or checkpoint failed, and nothing of this
        /// batch was written.
        attempted: bool,
    },
    #[error("a batch begins at revision {found}, but the next revision is {expected}")]
    OutOfOrder { expected: u64, found: u64 },
    /// Temporary.
    #[error("cannot store in {}: another program holds its lock", .0.display())]
    Locked(PathBuf),
    /// Temporary, for example out of memory.
    #[error("cannot store in {}", .file.display())]
    Failed {
        file: PathBuf,
        source: Arc<rusqlite::Error>,
    },
    /// Final.
    #[error("the writer of {} panicked", .0.display())]
    Panicked(PathBuf),
}

impl CommitError {
    /// Whether every later batch is refused too.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Moved(_) | Self::Broken { .. } | Self::Panicked(_)
        )
    }
}

/// The journal of a team, open for writing.
#[derive(Debug)]
pub struct Writer {
    connection: Connection,
    /// The database and its write-ahead log, which must be at these paths after each commit.
    files: [(PathBuf, FileIdentity); 2],
    newest: u64,
    /// Revision of the newest message, or 0.
    newest_message: i64,
    since_snapshot: u64,
    /// The snapshot of the last batch. It is stored after that batch was answered.
    snapshot: Option<Vec<Record>>,
    reserve: DiskReserve,
    /// Pages in the write-ahead log, as reported by SQLite.
    log_pages: Arc<AtomicI32>,
    checkpoint_at: i32,
    /// The reason why nothing more can be stored; `None` before the first final error.
    ended: Option<CommitError>,
    /// Excludes other writers. Declared last, so that it is released after the connection is closed.
    lock: Arc<TeamLock>,
}

/// A record as the tables store it.
struct Columns {
    at: i64,
    tick: i64,
    parties: Option<String>,
    event: String,
    call: Option<String>,
}

impl Writer {
    /// `restored` is the content of the database so far.
    pub(crate) fn new<T>(
        mut connection: Connection,
        files: [(PathBuf, FileIdentity); 2],
        restored: &Restored<T>,
        reserve: DiskReserve,
        lock: Arc<TeamLock>,
    ) -> Result<Self, ReadError> {
        connection.busy_timeout(LOCKED_LIMIT)?;
        let log_pages = Arc::new(AtomicI32::new(0));
        let pages_in_log = Arc::clone(&log_pages);
        // This hook replaces SQLite's automatic checkpoints, which delay the commit that triggers them and drop their
        // errors.
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            pages_in_log.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self {
            files,
            newest: restored.revision.0,
            newest_message: newest_message(&connection)?,
            since_snapshot: restored.since_snapshot,
            snapshot: None,
            reserve,
            log_pages,
            checkpoint_at: CHECKPOINT_PAGES,
            ended: None,
            connection,
            lock,
        })
    }

    /// Stores a batch. Call [`upkeep`](Self::upkeep) after the batch was answered.
    ///
    /// # Errors
    /// If the batch was not stored: see [`CommitError`]. After a final error every later batch is refused.
    pub fn commit(&mut self, batch: Batch) -> Result<Committed, CommitError> {
        let started = Instant::now();
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        if batch.first.0 != self.newest + 1 {
            return Err(CommitError::OutOfOrder {
                expected: self.newest + 1,
                found: batch.first.0,
            });
        }
        if !self.reserve.admits(batch.urgent) {
            return Err(self.full());
        }

        // Any batch that does not fit releases the reserve, so that the next urgent batch finds room. Only an urgent
        // batch is tried again with that room: an ordinary batch would use the room up.
        let rows: Vec<Columns> = batch.records.iter().map(Columns::of).collect();
        let mut written = self.write(&rows, &batch.archived, &batch.transcript_items);
        if matches!(written, Err(CommitError::Full(_))) && self.reserve.spend() && batch.urgent {
            written = self.write(&rows, &batch.archived, &batch.transcript_items);
        }
        // The paths are checked after the commit: a file that is removed between a check and the commit would take the
        // batch with it, although the batch was reported as stored. So a batch in a removed file is reported as not
        // stored.
        written
            .and_then(|()| self.check_files())
            .inspect_err(|error| self.refuse_if_final(error))?;

        self.newest += rows.len() as u64;
        if planted::strikes(Plant::SecondWriter, 50) {
            insert_foreign_event(self.file());
        }
        // The lock file gets the revision after the commit and before the answer. Before the commit, a crash in between
        // would make the next open report a loss of events that were never acknowledged. After the answer, a lost
        // write-ahead log could remove an acknowledged batch without being noticed.
        self.lock.record(self.newest);
        self.since_snapshot += rows.len() as u64;
        self.snapshot = batch.snapshot;
        Ok(Committed {
            revision: Revision(self.newest),
            entries: (batch.first.0..)
                .zip(batch.records)
                .map(|(revision, record)| JournalEntry {
                    revision: Revision(revision),
                    at: record.at,
                    event: Some(record.event),
                })
                .collect(),
            since_snapshot: self.since_snapshot,
            took: started.elapsed(),
        })
    }

    /// Whether [`upkeep`](Self::upkeep) has work to do.
    pub(crate) fn is_upkeep_due(&self) -> bool {
        self.snapshot.is_some() || self.is_checkpoint_due()
    }

    fn is_checkpoint_due(&self) -> bool {
        self.log_pages.load(Ordering::Relaxed) >= self.checkpoint_at
    }

    /// Stores the last batch's snapshot and checkpoints the write-ahead log, when due. A failure here loses nothing;
    /// the next commit reports a final failure.
    pub fn upkeep(&mut self) {
        let snapshot = self.snapshot.take();
        if self.ended.is_some() {
            return;
        }
        if let Some(snapshot) = snapshot.filter(|_| self.reserve.is_ample()) {
            self.since_snapshot = 0;
            if let Err(error) = self.write_snapshot(&snapshot) {
                self.upkeep_failed("snapshot", error);
            }
        }
        if self.ended.is_none() && self.is_checkpoint_due() {
            self.checkpoint();
        }
    }

    /// Checkpoints everything into the database file. Without this, the newest records stay in the write-ahead log,
    /// from which the next open reads them.
    pub fn close(self) {
        if self.ended.is_some() {
            return;
        }
        // Do not wait for locks: a reader that still uses older pages would delay the exit of the supervisor.
        let closed = self
            .connection
            .busy_timeout(Duration::ZERO)
            .and_then(|()| {
                self.connection
                    .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            })
            .and_then(|()| self.connection.close().map_err(|(_, error)| error));
        if let Err(error) = closed {
            tracing::warn!(file = %self.files[0].0.display(), %error, "cannot truncate the write-ahead log");
        }
    }

    pub(crate) fn file(&self) -> &Path {
        &self.files[0].0
    }

    fn write(
        &mut self,
        rows: &[Columns],
        archived: &[Archived],
        transcript_items: &[TranscriptItems],
    ) -> Result<(), CommitError> {
        let first = self.newest + 1;
        let mut message = self.newest_message;
        let mut store = || {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut insert = transaction.prepare_cached(
                "INSERT INTO journal (revision, at, tick, parties, message_before, event, call)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            for (revision, row) in (first.cast_signed()..).zip(rows) {
                let Columns {
                    at,
                    tick,
                    parties,
                    event,
                    call,
                } = row;
                insert.execute(params![revision, at, tick, parties, message, event, call])?;
                if parties.is_some() {
                    message = revision;
                }
            }
            drop(insert);
            for Archived { task, view } in archived {
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO archive (task, view) VALUES (?1, ?2)")?
                    .execute(params![task.0.cast_signed(), view])?;
            }
            for transcript_items in transcript_items {
                append(&transaction, transcript_items)?;
            }
            transaction.commit()
        };
        store().map_err(|error| self.failure(error))?;
        self.newest_message = message;
        Ok(())
    }

    fn write_snapshot(&mut self, records: &[Record]) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM snapshot", [])?;
        let mut insert = transaction.prepare(
            "INSERT INTO snapshot (place, at, tick, event, call) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for (place, record) in (1_i64..).zip(records) {
            let row = Columns::of(record);
            insert.execute(params![place, row.at, row.tick, row.event, row.call])?;
        }
        drop(insert);
        transaction.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES ('snapshot_revision', ?1)",
            [self.newest.cast_signed()],
        )?;
        transaction.commit()
    }

    fn checkpoint(&mut self) {
        let counts = self
            .connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                Ok((row.get::<_, i32>(1)?, row.get::<_, i32>(2)?))
            });
        match counts {
            // A reader still uses older pages. Without a later threshold, every commit would try the checkpoint again.
            Ok((logged, copied)) if copied < logged => {
                self.checkpoint_at = logged + CHECKPOINT_PAGES
            }
            Ok(_) => self.checkpoint_at = CHECKPOINT_PAGES,
            Err(error) => {
                self.checkpoint_at = self.log_pages.load(Ordering::Relaxed) + CHECKPOINT_PAGES;
                self.upkeep_failed("checkpoint", error);
            }
        }
    }

    fn upkeep_failed(&mut self, what: &str, error: rusqlite::Error) {
        let error = self.failure(error);
        tracing::warn!(file = %self.file().display(), %error, "{what} failed");
        self.refuse_if_final(&error);
    }

    /// Checks that the paths still lead to the database and its log: SQLite continues to write to an unlinked file
    /// without an error.
    fn check_files(&self) -> Result<(), CommitError> {
        self.files
            .iter()
            .try_for_each(|(path, identity)| identity.check(path))
            .map_err(|moved| CommitError::Moved(Arc::new(moved)))
    }

    /// If the error is final, refuses every later batch with this error.
    fn refuse_if_final(&mut self, error: &CommitError) {
        if !error.is_final() {
            return;
        }
        let mut error = error.clone();
        if let CommitError::Broken { attempted, .. } = &mut error {
            *attempted = false;
        }
        self.ended = Some(error);
    }

    fn full(&self) -> CommitError {
        CommitError::Full(self.dir().to_owned())
    }

    fn failure(&self, error: rusqlite::Error) -> CommitError {
        if disk_reserve::is_disk_full(self.dir(), &error) {
            return self.full();
        }
        let code = error.sqlite_error_code();
        let (file, source) = (self.file().to_owned(), Arc::new(error));
        match code {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => CommitError::Locked(file),
            Some(
                ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase,
            ) => CommitError::Broken {
                file,
                source,
                attempted: true,
            },
            _ => CommitError::Failed { file, source },
        }
    }

    fn dir(&self) -> &Path {
        self.file()
            .parent()
            .expect("the database was opened in a directory")
    }
}

/// The planted fault [`Plant::SecondWriter`]: stores an event as a second writer would.
fn insert_foreign_event(file: &Path) {
    let written = Connection::open(file).and_then(|other| {
        other.execute(
            "INSERT INTO journal (revision, at, tick, parties, message_before, event, call)
             SELECT revision + 1, at, tick, NULL, message_before, ?1, NULL FROM journal
             ORDER BY revision DESC LIMIT 1",
            [r#"{"kind":"grants_ended","data":{}}"#],
        )
    });
    if let Err(error) = written {
        tracing::warn!(%error, "cannot store the event of the planted fault");
    }
}

fn append(
    transaction: &Transaction<'_>,
    transcript_items: &TranscriptItems,
) -> rusqlite::Result<()> {
    let TranscriptItems {
        member,
        after,
        items,
    } = transcript_items;
    // A former member of this name may have a longer transcript.
    transaction
        .prepare_cached("DELETE FROM transcript WHERE member = ?1 AND place > ?2")?
        .execute(params![member.as_str(), after.cast_signed()])?;
    let mut insert = transaction
        .prepare_cached("INSERT INTO transcript (member, place, item) VALUES (?1, ?2, ?3)")?;
    for (place, item) in (after.cast_signed() + 1..).zip(items) {
        insert.execute(params![member.as_str(), place, item])?;
    }
    Ok(())
}

impl Columns {
    fn of(record: &Record) -> Self {
        let event = serde_json::to_string(&record.event).expect("an event is plain data");
        Self {
            at: record.at.cast_signed(),
            tick: record.tick.0.cast_signed(),
            parties: parties(&record.event),
            event,
            call: record
                .call
                .as_ref()
                .map(|call| serde_json::to_string(call).expect("a call is plain data")),
        }
    }
}

fn parties(event: &Event) -> Option<String> {
    let Event::MessageAccepted { from, to, .. } = event else {
        return None;
    };
    let mut parties = String::from("|");
    for party in std::iter::once(from).chain(to) {
        parties.extend([&*party.to_string(), "|"]);
    }
    Some(parties)
}

/// The entry of a party in a message's `parties` column.
pub(crate) fn party_key(party: &Party) -> String {
    format!("|{party}|")
}
