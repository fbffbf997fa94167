//! Reads stored history while the writer writes, a page or a list at a time. Every call blocks, so the driver makes
//! most of these calls on other threads.
//!
//! No read transaction outlives a call, so that a slow reader does not keep old pages of the write-ahead log alive.
//! SQLite cannot close the descriptor of a database on which this process holds locks, and the writer holds locks. So
//! closing a connection here leaves its descriptor open until the next connection reuses it. Therefore one connection
//! is kept for the next call, and callers bound the number of concurrent reads.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_team_core::{Event, Record};
use agent_team_protocol::id::{MemberName, MessageId, Party, Revision, TaskId};
use agent_team_protocol::value::MessageNote;
use agent_team_system::disk::{FileIdentity, FileIdentityError};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

use crate::read::{JournalEntry, ReadError, Restored, json, newest_message, restore, text};
use crate::writer::party_key;

/// A page ends after this many bytes of events, even if it has fewer events than its limit.
const PAGE_BYTES: usize = 1 << 20;

/// Idle connections kept per team.
const IDLE_MAX: usize = 1;

/// Maximum size of a page of a transcript, in bytes. A longer item is a page of its own; every page fits into a frame.
const TRANSCRIPT_BYTES: usize = 512 << 10;

/// The read side of one team's database. Cheap to clone; usable from any thread; every call blocks.
#[derive(Debug, Clone)]
pub struct History {
    /// The database and its write-ahead log.
    files: Arc<[(PathBuf, FileIdentity); 2]>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// A connection for one call. Dropping this value returns the connection to the idle connections if there is room.
struct PooledConnection<'a> {
    /// `None` only during drop.
    connection: Option<Connection>,
    history: &'a History,
}

impl Deref for PooledConnection<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("taken only on drop")
    }
}

impl Drop for PooledConnection<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && connection.is_autocommit()
            // SQLite's page cache is not needed between calls.
            && connection.release_memory().is_ok()
        {
            let mut idle = self.history.idle();
            if idle.len() < IDLE_MAX {
                idle.push(connection);
            }
        }
    }
}

/// An accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    pub id: MessageId,
    pub from: Party,
    pub to: Vec<Party>,
    pub text: Arc<str>,
    pub urgent: bool,
    pub reply_to: Option<MessageId>,
    pub note: MessageNote,
    /// Unix time in milliseconds.
    pub at: u64,
}

impl History {
    pub(crate) fn new(files: [(PathBuf, FileIdentity); 2]) -> Self {
        Self {
            files: Arc::new(files),
            idle: Arc::default(),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        // The list is consistent between any two operations, so a poisoned lock can be used.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that the team's files are still at the paths where they were opened.
    ///
    /// # Errors
    /// If a file was moved, removed or replaced: nothing can be stored then.
    pub fn check(&self) -> Result<(), FileIdentityError> {
        self.files
            .iter()
            .try_for_each(|(path, identity)| identity.check(path))
    }

    /// The events after `revision`: at most `limit` of them, and about 1 MiB. Empty if none follows. A page ends before
    /// a damaged event; the read of a page that begins with a damaged event fails.
    ///
    /// # Errors
    /// If the database cannot be read, or is no longer at its path. The same holds for all reads below.
    pub fn events_after(
        &self,
        revision: Revision,
        limit: usize,
    ) -> Result<Vec<JournalEntry>, ReadError> {
        let connection = self.connect()?;
        let mut select = connection
            .prepare("SELECT revision, at, event FROM journal WHERE revision > ?1 ORDER BY revision LIMIT ?2")?;
        let mut rows = select.query([revision.0.cast_signed(), rows_of(limit)])?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        while bytes < PAGE_BYTES
            && let Some(row) = rows.next()?
        {
            let revision = row.get::<_, i64>(0)?.cast_unsigned();
            let place = || format!("revision {revision}");
            let read = text(row, 2, place).and_then(|event| {
                bytes += event.len();
                match json(event, place) {
                    Ok(event) => Ok(Some(event)),
                    Err(ReadError::Unknown { .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            });
            let event = match read {
                Ok(event) => event,
                Err(error) if page.is_empty() => return Err(error),
                Err(_) => break,
            };
            page.push(JournalEntry {
                revision: Revision(revision),
                at: row.get::<_, i64>(1)?.cast_unsigned(),
                event,
            });
        }
        Ok(page)
    }

    /// The newest `limit` messages from or to a party, or of all parties, ordered from old to new. If the party has
    /// fewer messages, the call visits every message of the team, at about a microsecond each, but reads only the texts
    /// of the party's messages.
    ///
    /// # Errors
    /// As for [`Self::events_after`], and if the list of messages in the journal is damaged.
    pub fn messages(
        &self,
        of: Option<&Party>,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, ReadError> {
        let connection = self.connect()?;
        let mut lookup = connection.prepare(
            "SELECT message_before, ?2 IS NULL OR instr(parties, ?2) FROM journal WHERE revision = ?1",
        )?;
        let mut fetch = connection.prepare("SELECT at, event FROM journal WHERE revision = ?1")?;
        let party_key = of.map(party_key);
        let mut messages = Vec::new();
        let mut revision = newest_message(&connection)?;
        while revision > 0 && messages.len() < limit {
            let found =
                lookup.query_row((revision, &party_key), |row| Ok((row.get(0)?, row.get(1)?)));
            let (before, is_wanted): (i64, bool) = found?;
            if is_wanted {
                let mut rows = fetch.query([revision])?;
                let row = rows
                    .next()?
                    .expect("found by the query above, and never removed");
                messages.push(stored_message(row, revision)?);
            }
            if before >= revision {
                return Err(ReadError::Damaged(format!(
                    "revision {revision}: the previous message has revision {before}"
                )));
            }
            revision = before;
        }
        messages.reverse();
        Ok(messages)
    }

    /// A completed task, as JSON of the protocol's `TaskView`.
    pub fn archived(&self, task: TaskId) -> Result<Option<String>, ReadError> {
        let select = "SELECT view FROM archive WHERE task = ?1";
        Ok(self
            .connect()?
            .query_row(select, [task.0.cast_signed()], |row| row.get(0))
            .optional()?)
    }

    /// Completed tasks with a higher number than `last`, in the order of their ids, at most `limit` of them.
    pub fn archived_after(&self, last: TaskId, limit: usize) -> Result<Vec<String>, ReadError> {
        let connection = self.connect()?;
        let mut select = connection
            .prepare("SELECT view FROM archive WHERE task > ?1 ORDER BY task LIMIT ?2")?;
        let views = select
            .query_map([last.0.cast_signed(), rows_of(limit)], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(views)
    }

    /// The items of a member's transcript after the first `after` items, and whether more follow. Returns up to about
    /// 512 KiB, and at least one item if any follows.
    pub fn transcript(
        &self,
        member: &MemberName,
        after: u64,
    ) -> Result<(Vec<String>, bool), ReadError> {
        let connection = self.connect()?;
        let mut select = connection.prepare(
            "SELECT item FROM transcript WHERE member = ?1 AND place > ?2 ORDER BY place",
        )?;
        let mut rows = select.query((member.as_str(), after.cast_signed()))?;
        let (mut items, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let item: String = row.get(0)?;
            bytes += item.len();
            if bytes > TRANSCRIPT_BYTES && !items.is_empty() {
                return Ok((items, true));
            }
            items.push(item);
        }
        Ok((items, false))
    }

    /// The stored state, for a driver whose batch was not stored.
    pub fn restore<T: Default + Extend<Record>>(&self) -> Result<Restored<T>, ReadError> {
        let connection = self.connect()?;
        restore(&connection)
    }

    fn connect(&self) -> Result<PooledConnection<'_>, ReadError> {
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => read_only(&self.files[0].0)?,
        };
        self.check()?;
        Ok(PooledConnection {
            connection: Some(connection),
            history: self,
        })
    }
}

/// Reads a message from the columns `at, event`.
fn stored_message(row: &Row<'_>, revision: i64) -> Result<StoredMessage, ReadError> {
    let place = || format!("revision {revision}");
    let at = row.get::<_, i64>(0)?.cast_unsigned();
    let Event::MessageAccepted {
        message,
        from,
        to,
        text,
        urgent,
        reply_to,
        note,
    } = json(text(row, 1, place)?, place)?
    else {
        return Err(ReadError::Damaged(format!("{}: not a message", place())));
    };
    Ok(StoredMessage {
        id: message,
        from,
        to,
        text,
        urgent,
        reply_to,
        note,
        at,
    })
}

pub(crate) fn read_only(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    // A reader waits only for the recovery after a crash.
    connection.busy_timeout(Duration::from_secs(2))?;
    Ok(connection)
}

fn rows_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
