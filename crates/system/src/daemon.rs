//! Finds the supervisor, and starts it if none runs. Called by the CLI for every verb that needs the supervisor, and by
//! a worker whose supervisor has exited.
//!
//! Any number of processes may do this at once: only one supervisor gets the lock, and all callers connect to it.
//!
//! The lock file contains the path of the socket and nothing else: workers of other builds read the whole file. The
//! file `supervisor.pid` beside it names the process, with its start time and the boot:
//! ```text
//! 4711 8123456 0b7f6a1c-6f0e-4a57-9d1e-4f3c8a5b2d10
//! ```
//! When the socket or the lock file was removed, SIGHUP to that process makes it create both again.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use agent_team_protocol::Refusal;
use agent_team_protocol::initialize::Initialize;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client::{Client, ConnectError, Incoming};
use crate::directories::Directories;
use crate::lock::FileLock;
use crate::process::{ProcessId, Signal};
use crate::socket::Stream;
use crate::spawn::{Detached, ProgramSpec, StartError};
use crate::{clock, private_file};

/// Limit for a whole start. A supervisor restores the largest teams in two seconds, and in several times that on a busy
/// machine.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Pauses between attempts while a supervisor that another process started holds the lock but does not listen: it is
/// starting or exiting.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(5),
    longest: Duration::from_millis(500),
};

/// Supervisors that may exit during their start before the caller gets an error.
const EXITS_MAX: u32 = 3;

/// How long a supervisor may take to bind its socket again after SIGHUP.
const REBIND_LIMIT: Duration = Duration::from_secs(1);

/// After this time without an answer, check whether the supervisor's process is stopped.
const STOPPED_AFTER: Duration = Duration::from_secs(1);

const SUPERVISOR: &str = "agent-teamd";

/// Environment variables that a shared process inherits from the process that starts it: see [`is_neutral`].
const NEUTRAL: [&str; 10] = [
    "AGENT_TEAM_LOG",
    "HOME",
    "LANG",
    "LOGNAME",
    "PATH",
    "RUST_BACKTRACE",
    "SHELL",
    "TMPDIR",
    "TZ",
    "USER",
];

/// Why [`connect_or_start`] failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectOrStartError {
    #[error(transparent)]
    Binary(#[from] FindBinaryError),
    #[error("cannot start the supervisor")]
    Start(#[from] StartError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The user's settings are invalid; the supervisor's refusal contains the position.
    #[error("{0}")]
    Settings(Refusal),
    #[error("cannot read the supervisor's lock file")]
    Lock(#[from] io::Error),
}

/// Prefix of the line that a supervisor reports instead of its readiness when the user's settings are invalid.
const SETTINGS: &str = "settings: ";

/// The line that a supervisor reports when another supervisor, which may be exiting, holds the lock.
pub const TAKEN: &str = "taken";

/// The line that a supervisor reports when the user's settings are invalid.
pub fn settings_report(refusal: Refusal) -> String {
    let refusal = serde_json::to_string(&refusal).expect("a refusal has string keys");
    format!("{SETTINGS}{refusal}\n")
}

/// One of the project's binaries was not found.
#[derive(Debug, thiserror::Error)]
#[error("cannot find {name}: it is neither beside this program nor in PATH")]
pub struct FindBinaryError {
    name: String,
}

/// A supervisor as its lock file and the file beside it describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    pub socket: PathBuf,
    /// `None` when it does not bind its socket again on SIGHUP, or was recorded under another boot.
    pub process: Option<ProcessId>,
}

impl Announced {
    /// Writes both files. `held` is the lock at the path `lock`. A process that is named must handle SIGHUP already.
    pub fn write(&self, held: &mut FileLock, lock: &Path) -> io::Result<()> {
        // The process first. A reader that finds a socket in the lock file takes the process file to belong to the same
        // supervisor; in the other order it could read the process of the previous one and signal that.
        let file = process_file(lock);
        private_file::discard(&file)?;
        if let Some(ProcessId { pid, start_time }) = self.process {
            let text = format!("{pid} {start_time} {}\n", clock::boot_id()?);
            private_file::create(&file, text.as_bytes())?;
        }
        held.write_contents(&format!("{}\n", self.socket.display()))
    }

    /// Clears both files, before the supervisor releases its lock.
    pub fn withdraw(held: &mut FileLock, lock: &Path) -> io::Result<()> {
        held.write_contents("")?;
        private_file::discard(&process_file(lock)).map(drop)
    }

    /// From a lock file, held or not; `None` when it names no supervisor.
    pub fn read(lock: &Path) -> io::Result<Option<Announced>> {
        let text = FileLock::contents(lock)?.unwrap_or_default();
        let socket = text.lines().next().unwrap_or_default();
        Ok((!socket.is_empty()).then(|| Announced {
            socket: socket.into(),
            process: recorded_process(lock),
        }))
    }

    /// Asks the supervisor, by SIGHUP, to bind its socket again. False when it has exited or cannot be signalled.
    fn wake(&self) -> bool {
        self.process
            .is_some_and(|process| process.signal(Signal::SIGHUP).unwrap_or(false))
    }

    fn stopped(&self) -> Option<ConnectError> {
        let process = self.process?;
        let stopped = process.is_stopped().unwrap_or(false);
        stopped.then_some(ConnectError::Stopped { pid: process.pid })
    }
}

fn process_file(lock: &Path) -> PathBuf {
    lock.with_extension("pid")
}

/// The process beside a lock, if it was recorded under this boot.
fn recorded_process(lock: &Path) -> Option<ProcessId> {
    let text = String::from_utf8(private_file::read(&process_file(lock)).ok()?).ok()?;
    let mut words = text.split_whitespace();
    let process = ProcessId {
        pid: words.next()?.parse().ok()?,
        start_time: words.next()?.parse().ok()?,
    };
    (words.next()? == clock::boot_id().ok()?).then_some(process)
}

/// Another running supervisor, found although the caller holds the lock: its lock file was removed. Found by its
/// process file, or by the socket where it listens.
pub async fn without_lock(directories: &Directories) -> Option<ProcessId> {
    let recorded = recorded_process(&directories.supervisor_lock());
    if let Some(process) = recorded.filter(|process| process.is_alive().unwrap_or(true)) {
        return Some(process);
    }
    // Connecting is enough, as the kernel accepts connections for a stopped process too.
    let socket = directories.socket();
    let connected = tokio::time::timeout(STOPPED_AFTER, Stream::connect(&socket)).await;
    let pid = connected.ok()?.ok()?.peer().pid?;
    ProcessId::of(pid).ok().flatten()
}

/// The running supervisor; `None` when none runs, or when it has taken the lock but not yet written its socket.
fn announced(directories: &Directories) -> io::Result<Option<Announced>> {
    let lock = directories.supervisor_lock();
    if FileLock::is_held(&lock)? {
        Announced::read(&lock)
    } else {
        Ok(None)
    }
}

/// The socket of the running supervisor; `None` when none runs.
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

/// The socket file of the running supervisor, once it is bound; `None` when none runs.
pub fn bound_socket(directories: &Directories) -> Option<BoundSocket> {
    BoundSocket::at(&find(directories).ok()??)
}

/// Connects to a supervisor whose socket file may have been removed, and which may be stopped. If the socket is
/// unreachable, asks the supervisor to bind it again and retries for [`REBIND_LIMIT`].
async fn connect_to(
    announced: &Announced,
    directories: &Directories,
    initialize: &Initialize,
) -> Result<(Client, Incoming), ConnectError> {
    let mut result = connect_at(announced, initialize).await;
    if matches!(result, Err(ConnectError::Unreachable { .. })) && announced.wake() {
        let deadline = Instant::now() + REBIND_LIMIT;
        // Another supervisor may take its place meanwhile.
        while matches!(result, Err(ConnectError::Unreachable { .. }))
            && Instant::now() < deadline
            && self::announced(directories).is_ok_and(|now| now.as_ref() == Some(announced))
        {
            tokio::time::sleep(BACKOFF.first).await;
            result = connect_at(announced, initialize).await;
        }
        if let (Err(_), Some(stopped)) = (&result, announced.stopped()) {
            return Err(stopped);
        }
    }
    result
}

async fn connect_at(
    announced: &Announced,
    initialize: &Initialize,
) -> Result<(Client, Incoming), ConnectError> {
    let mut connecting = pin!(Client::connect(&announced.socket, initialize));
    loop {
        // The kernel accepts connections for a stopped process, which then does not answer.
        match tokio::time::timeout(STOPPED_AFTER, &mut connecting).await {
            Ok(result) => return result,
            Err(_elapsed) => {
                if let Some(stopped) = announced.stopped() {
                    return Err(stopped);
                }
            }
        }
    }
}

/// Connects to the supervisor, and starts it first if none runs. The directories must be prepared.
pub async fn connect_or_start(
    directories: &Directories,
    initialize: &Initialize,
) -> Result<(Client, Incoming), ConnectOrStartError> {
    let deadline = Instant::now() + START_LIMIT;
    let mut waits = 0;
    let mut exits = 0;
    loop {
        let unreachable = match announced(directories)? {
            None => None,
            Some(announced) => match connect_to(&announced, directories, initialize).await {
                Err(error @ (ConnectError::Unreachable { .. } | ConnectError::Ended)) => {
                    Some(error)
                }
                result => return Ok(result?),
            },
        };
        let started = match start(directories).await {
            Ok(started) => started,
            // Another starter won: its supervisor is the one to connect to.
            Err(ConnectOrStartError::Start(StartError::Refused(_) | StartError::Exited))
                if FileLock::is_held(&directories.supervisor_lock())? =>
            {
                Started::Another
            }
            // Most likely killed during its start: a supervisor that cannot start reports the reason.
            Err(ConnectOrStartError::Start(StartError::Exited)) if exits < EXITS_MAX => {
                exits += 1;
                Started::Another
            }
            Err(error) => return Err(error),
        };
        if Instant::now() >= deadline {
            return Err(match unreachable {
                Some(error) => error.into(),
                None => StartError::TimedOut(START_LIMIT).into(),
            });
        }
        if started == Started::Another {
            waits += 1;
            tokio::time::sleep(BACKOFF.after(waits)).await;
        }
    }
}

/// Connects to the running supervisor; starts none.
pub async fn connect(
    directories: &Directories,
    initialize: &Initialize,
) -> Result<(Client, Incoming), ConnectOrStartError> {
    let Some(announced) = announced(directories)? else {
        let path = directories.socket();
        let source = io::ErrorKind::NotFound.into();
        return Err(ConnectError::Unreachable { path, source }.into());
    };
    Ok(connect_to(&announced, directories, initialize).await?)
}

/// The result of starting a supervisor.
#[derive(PartialEq, Eq)]
enum Started {
    /// It serves.
    Ready,
    /// Another one held the lock.
    Another,
}

/// Starts a supervisor and waits until it is ready.
async fn start(directories: &Directories) -> Result<Started, ConnectOrStartError> {
    let spec = ProgramSpec {
        program: sibling_binary(SUPERVISOR)?,
        args: Vec::new(),
        env: environment(directories),
        cwd: "/".into(),
    };
    let report = Detached::new(spec).start(START_LIMIT).await?;
    if report == TAKEN {
        return Ok(Started::Another);
    }
    match report.strip_prefix(SETTINGS) {
        None => Ok(Started::Ready),
        Some(refusal) => Err(match serde_json::from_str(refusal) {
            Ok(refusal) => ConnectOrStartError::Settings(refusal),
            // A supervisor of another build, whose refusal this build cannot decode.
            Err(_) => StartError::Refused(refusal.to_owned()).into(),
        }),
    }
}

/// Whether a shared process (the supervisor or its tmux server) inherits this variable. Only variables for finding
/// programs, for the language and for logs are inherited: no secrets and no terminal settings of the process that
/// happens to start it.
pub fn is_neutral(variable: &OsStr) -> bool {
    NEUTRAL.iter().any(|name| variable == *name) || variable.as_bytes().starts_with(b"LC_")
}

/// The environment of a new supervisor: the neutral variables, and those that lead it to the same directories.
fn environment(directories: &Directories) -> Vec<(OsString, OsString)> {
    let places = directories.variables();
    std::env::vars_os()
        .filter(|(name, _)| is_neutral(name))
        .filter(|(name, _)| !places.iter().any(|(place, _)| name == place))
        .chain(
            places
                .iter()
                .filter_map(|(name, value)| Some((name.into(), value.clone()?))),
        )
        .collect()
}

/// Finds one of the project's binaries: beside the running one, else in `PATH`.
pub fn sibling_binary(name: &str) -> Result<PathBuf, FindBinaryError> {
    let own = std::env::current_exe().ok();
    let beside = own
        .as_deref()
        .and_then(std::path::Path::parent)
        .map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path).filter(|directory| directory.is_absolute()))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| FindBinaryError {
            name: name.to_owned(),
        })
}
