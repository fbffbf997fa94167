//! Opens a team's database: creates it if it is missing, checks which team it belongs to, and sets it aside if it is
//! damaged.
//!
//! The file is first read through a read-only connection, so that nothing is written to a file of another program or of
//! an unknown version.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_team_core::Record;
use agent_team_protocol::id::TeamId;
use agent_team_system::disk::FileIdentity;
use agent_team_system::private_file;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::FILE_NAME;
use crate::disk_reserve::{self, DiskReserve};
use crate::history::{History, read_only};
use crate::lock::{self, Durability, TeamLock};
use crate::open_error::{OpenError, TeamIdentity};
use crate::read::{ReadError, Restored, restore};
use crate::schema::{self, Kind};
use crate::writer::Writer;

/// An open database.
#[derive(Debug)]
pub struct Opened<T> {
    pub writer: Writer,
    pub history: History,
    pub restored: Restored<T>,
}

/// Opens the database in a team's directory, or creates it there. The directory must be private to the user. A lock
/// beside the database, held until the writer is dropped, excludes every other writer.
///
/// # Errors
/// See [`OpenError`]. A damaged database is renamed before [`OpenError::Damaged`] is returned; before
/// [`OpenError::NotSetAside`], some of its files may have been renamed.
pub fn open<T: Default + Extend<Record>>(
    dir: &Path,
    identity: &TeamIdentity,
    durability: Durability,
) -> Result<Opened<T>, OpenError> {
    let file = dir.join(FILE_NAME);
    let lock = match TeamLock::acquire(dir, durability) {
        Ok(Some(lock)) => Arc::new(lock),
        Ok(None) => return Err(OpenError::InUse { file }),
        Err(source) => {
            let file = lock::path(dir);
            return Err(OpenError::Io { file, source });
        }
    };
    let attempt = || open_as_found(dir, identity, durability, &lock);
    let opened = match attempt() {
        // After a crash, even opening needs some free space.
        Err(OpenError::Read {
            source: ReadError::Sqlite(error),
            ..
        }) if disk_reserve::is_disk_full(dir, &error) && disk_reserve::release(dir) => attempt(),
        other => other,
    };
    match opened {
        Err(OpenError::Read {
            file,
            source: ReadError::Damaged(reason),
        }) => Err(set_aside(file, reason, &lock)),
        other => other,
    }
}

/// The team that the database in a directory belongs to; `None` when there is no database, or it has no content yet.
/// Changes nothing.
///
/// # Errors
/// If the database cannot be read, is damaged, is newer than this build, or is not a database of agent-team.
pub fn identity(dir: &Path) -> Result<Option<TeamIdentity>, OpenError> {
    let file = dir.join(FILE_NAME);
    match open_read_only(&file)? {
        None => Ok(None),
        Some(connection) => {
            stored_identity(&connection).map_err(|source| OpenError::Read { file, source })
        }
    }
}

fn open_as_found<T: Default + Extend<Record>>(
    dir: &Path,
    identity: &TeamIdentity,
    durability: Durability,
    lock: &Arc<TeamLock>,
) -> Result<Opened<T>, OpenError> {
    let file = dir.join(FILE_NAME);
    let io = |source| OpenError::Io {
        file: file.clone(),
        source,
    };
    let read = |source| OpenError::Read {
        file: file.clone(),
        source,
    };

    let stored = match open_read_only(&file)? {
        None => 0,
        Some(connection) => newest(&connection).map_err(read)?,
    };
    // Check the revision before anything is written.
    lock.check(&file, stored)?;
    if !file.try_exists().map_err(io)? {
        private_file::create(&file, b"")
            .and_then(|()| sync_directory(&file))
            .map_err(io)?;
    }
    let mut connection = connect(&file, durability)
        .map_err(read)?
        .ok_or(OpenError::NoLog { file: file.clone() })?;
    let version = match schema::kind(&connection).map_err(read)? {
        Kind::Blank => 0,
        Kind::Journal(version) => version,
        Kind::Foreign => return Err(OpenError::NotOurs { file }),
    };
    schema::migrate(&mut connection, version).map_err(|error| read(error.into()))?;
    match stored_identity(&connection).map_err(read)? {
        Some(owner) if owner == *identity => {}
        Some(owner) => {
            return Err(OpenError::OtherTeam {
                file,
                owner: Box::new(owner),
            });
        }
        None => store_identity(&mut connection, identity).map_err(|error| read(error.into()))?,
    }

    let restored = restore(&connection).map_err(read)?;
    // SQLite's page cache is not needed after the start.
    connection
        .release_memory()
        .map_err(|error| read(error.into()))?;
    let located = |path: PathBuf| identity_of(&path).map(|identity| (path, identity));
    let files = [
        located(file.clone()).map_err(io)?,
        located(beside(&file, "-wal")).map_err(io)?,
    ];
    lock.record(restored.revision.0);
    let history = History::new(files.clone());
    let reserve = DiskReserve::claim(dir);
    let writer = Writer::new(connection, files, &restored, reserve, lock.clone()).map_err(read)?;
    Ok(Opened {
        writer,
        history,
        restored,
    })
}

/// A read-only connection to a database that this build can read; `None` if there is no content yet.
fn open_read_only(file: &Path) -> Result<Option<Connection>, OpenError> {
    let length = |path: &Path| match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(metadata.len()),
        Ok(_) => Err(OpenError::NotOurs {
            file: path.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(source) => Err(OpenError::Io {
            file: path.to_owned(),
            source,
        }),
    };
    let read = |source| OpenError::Read {
        file: file.to_owned(),
        source,
    };
    if length(file)? == 0 {
        // If the database is missing or empty, SQLite would delete its write-ahead log.
        return match length(&beside(file, "-wal"))? {
            0 => Ok(None),
            _ => Err(read(ReadError::Damaged(
                "it is missing or empty, but its write-ahead log is not".into(),
            ))),
        };
    }
    let connection = read_only(file).map_err(|error| read(error.into()))?;
    match schema::kind(&connection).map_err(read)? {
        Kind::Blank => Ok(None),
        Kind::Journal(version) if version > schema::VERSION => Err(OpenError::Newer {
            file: file.to_owned(),
            version,
            ours: schema::VERSION,
        }),
        Kind::Journal(_) => Ok(Some(connection)),
        Kind::Foreign => Err(OpenError::NotOurs {
            file: file.to_owned(),
        }),
    }
}

/// Opens the connection of the writer; `None` if the file system does not support a write-ahead log.
fn connect(file: &Path, durability: Durability) -> Result<Option<Connection>, ReadError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    // On close, SQLite deletes the log at its path, even if that file is the log of another database by then.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Ok(None);
    }
    let synchronous = match durability {
        Durability::Power => "FULL",
        Durability::Process => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // On macOS an ordinary sync stops at the drive's cache.
    connection.pragma_update(None, "fullfsync", durability == Durability::Power)?;
    connection.pragma_update(
        None,
        "checkpoint_fullfsync",
        durability == Durability::Power,
    )?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // Negative values are in KiB. Appending needs few pages, and the supervisor must stay small.
    connection.pragma_update(None, "cache_size", -512)?;
    // Without a limit, the log keeps the size that its largest snapshot needed.
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    Ok(Some(connection))
}

fn stored_identity(connection: &Connection) -> Result<Option<TeamIdentity>, ReadError> {
    let value = |key: &str| {
        connection
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
                row.get::<_, Vec<u8>>(0)
            })
            .optional()
    };
    let (Some(team), Some(name), Some(project)) =
        (value("team")?, value("name")?, value("project")?)
    else {
        return Ok(None);
    };
    let damaged = || ReadError::Damaged("it does not name its team".into());
    let team = String::from_utf8(team)
        .ok()
        .and_then(|text| TeamId::from_directory_name(&text))
        .ok_or_else(damaged)?;
    let name = String::from_utf8(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(damaged)?;
    Ok(Some(TeamIdentity {
        team,
        name,
        project: OsString::from_vec(project).into(),
    }))
}

fn store_identity(connection: &mut Connection, identity: &TeamIdentity) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let parts = [
        ("team", identity.team.as_str().as_bytes()),
        ("name", identity.name.as_str().as_bytes()),
        // Store the path as bytes: it need not be UTF-8.
        ("project", identity.project.as_os_str().as_bytes()),
    ];
    for (key, value) in parts {
        transaction.execute(
            "INSERT INTO meta (key, value) VALUES (?1, ?2)",
            (key, value),
        )?;
    }
    transaction.commit()?;
    // Checkpoint immediately, so that the database names its team even without its log.
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// The newest revision of the journal or of its snapshot, or 0. If the journal does not reach its snapshot, the
/// database is damaged; [`restore`] reports the damage.
fn newest(connection: &Connection) -> Result<u64, ReadError> {
    let select = "SELECT max(coalesce((SELECT max(revision) FROM journal), 0),
                             coalesce((SELECT value FROM meta WHERE key = 'snapshot_revision'), 0))";
    let newest: i64 = connection.query_row(select, [], |row| row.get(0))?;
    Ok(newest.cast_unsigned())
}

/// Renames the database and its companion files to unused names.
fn set_aside(file: PathBuf, reason: String, lock: &TeamLock) -> OpenError {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let mut aside = beside(&file, &format!(".damaged-{seconds}"));
    let taken = |aside: &Path| {
        COMPANIONS
            .iter()
            .any(|companion| beside(aside, companion).symlink_metadata().is_ok())
    };
    for n in 1.. {
        if !taken(&aside) {
            break;
        }
        aside = beside(&file, &format!(".damaged-{seconds}.{n}"));
    }
    // Rename the database first: an interruption must not leave a database that looks complete without its log.
    let renamed = COMPANIONS
        .iter()
        .try_for_each(|companion| {
            match fs::rename(beside(&file, companion), beside(&aside, companion)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            }
        })
        .and_then(|()| lock.forget())
        .and_then(|()| sync_directory(&file));
    match renamed {
        Ok(()) => OpenError::Damaged {
            file,
            aside,
            reason,
        },
        Err(source) => OpenError::NotSetAside {
            file,
            reason,
            source,
        },
    }
}

/// The suffixes of SQLite's files; the database itself first.
const COMPANIONS: [&str; 3] = ["", "-wal", "-shm"];

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Inspects the path without opening the file: closing a descriptor of the database would drop SQLite's locks on it.
fn identity_of(path: &Path) -> io::Result<FileIdentity> {
    fs::symlink_metadata(path).map(|metadata| FileIdentity::from(&metadata))
}

fn sync_directory(file: &Path) -> io::Result<()> {
    file.parent()
        .map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}
