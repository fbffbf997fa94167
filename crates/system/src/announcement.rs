//! The files in which a supervisor announces itself, and the lines that it writes to its readiness pipe. Called by the
//! supervisor, which writes the files, and by the programs that look for a supervisor: clients and workers.
//!
//! The lock file contains the path of the socket and nothing else: workers of other builds read the whole file. The
//! file `supervisor.pid` beside it names the process, with its start time and the boot:
//! ```text
//! 4711 8123456 0b7f6a1c-6f0e-4a57-9d1e-4f3c8a5b2d10
//! ``` If the socket or the lock file was removed, SIGHUP makes that process create the removed file again.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_team_protocol::Refusal;

use crate::directories::Directories;
use crate::lock::FileLock;
use crate::process::{ProcessId, Signal};
use crate::socket::Stream;
use crate::{clock, private_file};

/// How long a connection to a socket may take to show that a supervisor listens there.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Prefix of the line that a supervisor writes to its readiness pipe when the user's settings are invalid.
pub const SETTINGS_PREFIX: &str = "settings: ";

/// The line that a supervisor writes to its readiness pipe when another supervisor, which may be exiting, holds the
/// lock.
pub const LOCK_TAKEN_LINE: &str = "taken";

/// The line with [`SETTINGS_PREFIX`] and the refusal.
pub fn settings_report(refusal: Refusal) -> String {
    let refusal = serde_json::to_string(&refusal).expect("a refusal has string keys");
    format!("{SETTINGS_PREFIX}{refusal}\n")
}

/// A supervisor as its lock file and the file beside it describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    pub socket: PathBuf,
    /// `None` when the supervisor does not bind its socket again on SIGHUP, when its process is not recorded, or when
    /// it was recorded under another boot.
    pub process: Option<ProcessId>,
}

impl Announced {
    /// Writes both files. `held` is the lock at the path `lock`. If `process` is set, that process must already handle
    /// SIGHUP.
    pub fn write(&self, held: &mut FileLock, lock: &Path) -> io::Result<()> {
        // Write the process file first: a program that finds a socket in the lock file assumes that the process file
        // belongs to the same supervisor. In the other order it could signal the process of the previous supervisor.
        let file = process_file(lock);
        private_file::discard(&file)?;
        if let Some(ProcessId { pid, start_time }) = self.process {
            let text = format!("{pid} {start_time} {}\n", clock::boot_id()?);
            private_file::create(&file, text.as_bytes())?;
        }
        held.write_contents(&format!("{}\n", self.socket.display()))
    }

    /// Empties the lock file and removes the process file. Called before the supervisor releases its lock.
    pub fn withdraw(held: &mut FileLock, lock: &Path) -> io::Result<()> {
        // Empty the lock file first: programs that find no socket path in it do not send SIGHUP to the recorded
        // process.
        held.write_contents("")?;
        private_file::discard(&process_file(lock)).map(drop)
    }

    /// Reads both files, whether the lock is held or not; `None` when the lock file contains no socket path.
    pub fn read(lock: &Path) -> io::Result<Option<Announced>> {
        let text = FileLock::contents(lock)?.unwrap_or_default();
        let socket = text.lines().next().unwrap_or_default();
        Ok((!socket.is_empty()).then(|| Announced {
            socket: socket.into(),
            process: recorded_process(lock),
        }))
    }

    /// Asks the supervisor, by SIGHUP, to bind its socket again. False when its process is unknown, has exited or
    /// cannot be signalled.
    pub fn request_rebind(&self) -> bool {
        self.process
            .is_some_and(|process| process.signal(Signal::SIGHUP).unwrap_or(false))
    }
}

fn process_file(lock: &Path) -> PathBuf {
    lock.with_extension("pid")
}

/// The process in the file beside the lock file, if it was recorded under this boot.
fn recorded_process(lock: &Path) -> Option<ProcessId> {
    let text = String::from_utf8(private_file::read(&process_file(lock)).ok()?).ok()?;
    let mut words = text.split_whitespace();
    let process = ProcessId {
        pid: words.next()?.parse().ok()?,
        start_time: words.next()?.parse().ok()?,
    };
    (words.next()? == clock::boot_id().ok()?).then_some(process)
}

/// Finds another supervisor that still runs although the caller holds the lock: the lock file of that supervisor was
/// removed. Looks for the recorded process, then for a process that listens at the socket.
pub async fn find_without_lock(directories: &Directories) -> Option<ProcessId> {
    let recorded = recorded_process(&directories.supervisor_lock());
    if let Some(process) = recorded.filter(|process| process.is_alive().unwrap_or(true)) {
        return Some(process);
    }
    // Connecting is enough, as the kernel accepts connections for a stopped process too.
    let socket = directories.socket();
    let connected = tokio::time::timeout(CONNECT_LIMIT, Stream::connect(&socket)).await;
    let pid = connected.ok()?.ok()?.peer().pid?;
    ProcessId::of(pid).ok().flatten()
}

/// The running supervisor; `None` when none runs, or while the lock file is empty because the supervisor is starting or
/// exiting.
pub fn announced(directories: &Directories) -> io::Result<Option<Announced>> {
    let lock = directories.supervisor_lock();
    if FileLock::is_held(&lock)? {
        Announced::read(&lock)
    } else {
        Ok(None)
    }
}

/// The socket of the running supervisor; `None` as for [`announced`].
pub fn find(directories: &Directories) -> io::Result<Option<PathBuf>> {
    Ok(announced(directories)?.map(|announced| announced.socket))
}

/// Identity of the socket file that a supervisor listens at, only for comparison: each supervisor binds a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundSocket {
    device: u64,
    inode: u64,
    /// Seconds and nanoseconds, because inode numbers are reused.
    changed: (i64, i64),
}

impl BoundSocket {
    /// The socket at this path; `None` when there is none.
    pub fn at(path: &Path) -> Option<BoundSocket> {
        let file = path.symlink_metadata().ok()?;
        Some(BoundSocket {
            device: file.dev(),
            inode: file.ino(),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

/// The socket file of the running supervisor; `None` when no supervisor runs, when its socket is not bound yet, or when
/// the files cannot be read.
pub fn bound_socket(directories: &Directories) -> Option<BoundSocket> {
    BoundSocket::at(&find(directories).ok()??)
}
