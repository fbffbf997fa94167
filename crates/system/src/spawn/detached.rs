//! Starts a daemon and waits until it reports that it is ready. Called by the client, to start the supervisor.
//!
//! ```text
//! caller ── fork ── intermediate: setsid ── fork ── daemon: exec
//!    │                    └ exits                     │
//!    └── reads one line ◄──── pipe, AGENT_TEAM_READY_FD ──┘
//! ```
//! The daemon is not a child of its starter. A worker is a subreaper, and stops being one during the start: otherwise
//! the worker would adopt the daemon, count it as part of its process tree and kill it with that tree.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc;
use nix::unistd::ForkResult;
use rustix::io::FdFlags;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;

use super::{ProgramSpec, before_exec, own_children};
use crate::os;
use crate::tree::{LAUNCH_MARKER, NO_LAUNCH};

/// The environment variable that contains the number of the descriptor on which a daemon reports.
pub const READY_FD: &str = "AGENT_TEAM_READY_FD";

/// Largest report in bytes; the rest is ignored.
const REPORT_BYTES: u64 = 64 * 1024;

/// A daemon: null stdio, its own session, working directory `/`, not a child of its starter, part of no launch.
#[derive(Clone, Debug)]
pub struct Detached {
    spec: ProgramSpec,
}

/// Why a daemon did not become ready.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot start {program}")]
    Spawn { program: String, source: io::Error },
    /// The daemon reported this error, which is written for the user.
    #[error("{0}")]
    Refused(String),
    #[error("it exited before it was ready and reported no error")]
    Exited,
    #[error("it was not ready within {0:?}")]
    TimedOut(Duration),
}

impl Detached {
    /// `spec.cwd` is replaced by `/`, and its launch marker by [`NO_LAUNCH`].
    pub fn new(mut spec: ProgramSpec) -> Detached {
        spec.cwd = "/".into();
        spec.env
            .retain(|(name, _)| name != LAUNCH_MARKER && name != READY_FD);
        spec.env.push((LAUNCH_MARKER.into(), NO_LAUNCH.into()));
        Detached { spec }
    }

    /// Starts the daemon and waits for its report: one line, which is returned, or a text that begins with `error:`.
    ///
    /// # Errors
    /// The daemon cannot be started, reports an error, exits without a report, or does not report within `limit`. In
    /// the last case, the daemon keeps running and may still become ready.
    pub async fn start(&self, limit: Duration) -> Result<String, StartError> {
        let failed = |source| StartError::Spawn {
            program: self.spec.program.display().to_string(),
            source,
        };
        let report = self.spawn().map_err(failed)?;
        match tokio::time::timeout(limit, read_report(report)).await {
            Ok(result) => result.map_err(failed)?,
            Err(_elapsed) => Err(StartError::TimedOut(limit)),
        }
    }

    fn spawn(&self) -> io::Result<pipe::Receiver> {
        let (report, report_to) = io::pipe()?;
        let report_to = OwnedFd::from(report_to);
        let mut command = self.spec.command();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .env(READY_FD, report_to.as_raw_fd().to_string());
        let number = report_to.as_raw_fd();
        before_exec(&mut command, move || {
            #[expect(unsafe_code, reason = "fork is unsafe in nix")]
            // SAFETY: this already is the single-threaded child of a fork, and both sides make
            // only system calls afterwards, as `before_exec` requires.
            match unsafe { nix::unistd::fork() }? {
                ForkResult::Parent { .. } => {
                    #[expect(
                        unsafe_code,
                        reason = "the copy of this process must run no destructors"
                    )]
                    // SAFETY: _exit only terminates this process, which is the intermediate process.
                    unsafe {
                        libc::_exit(0)
                    }
                }
                ForkResult::Child => {}
            }
            #[expect(
                unsafe_code,
                reason = "the descriptor is known to the daemon by its number"
            )]
            // SAFETY: the parent keeps `report_to` open until the spawn has returned.
            let report_to = unsafe { BorrowedFd::borrow_raw(number) };
            Ok(rustix::io::fcntl_setfd(report_to, FdFlags::empty())?)
        });
        // Hold the lock of `own_children`, so that `reap_any` does not reap the intermediate process.
        let children = own_children();
        // The attribute belongs to the whole process (PR_SET_CHILD_SUBREAPER, prctl(2)). If an unrelated process below
        // this worker loses its parent during the start, a process further up adopts it; the session and the launch
        // marker still assign the orphan to the launch. So the interval is kept short, and it ends before the report is
        // awaited.
        let adopts = os::is_subreaper()?;
        if adopts {
            os::set_subreaper(false)?;
        }
        // Returns when the daemon's exec has succeeded or failed: both forks hold std's error pipe until then.
        let spawned = command
            .spawn()
            .and_then(|mut intermediate| intermediate.wait());
        if adopts {
            os::set_subreaper(true)?;
        }
        drop(children);
        spawned?;
        // The daemon must have the only write end of the pipe. If this process kept a write end, the read would not end
        // when the daemon exits without a report, and the caller would wait for the whole limit.
        drop(report_to);
        pipe::Receiver::from_owned_fd(report.into())
    }
}

async fn read_report(report: pipe::Receiver) -> io::Result<Result<String, StartError>> {
    let mut report = BufReader::new(report).take(REPORT_BYTES);
    let mut bytes = Vec::new();
    report.read_until(b'\n', &mut bytes).await?;
    if bytes.starts_with(b"error:") {
        report.read_to_end(&mut bytes).await?;
    }
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    Ok(match text.strip_prefix("error:") {
        Some(reason) => Err(StartError::Refused(reason.trim().to_owned())),
        None if bytes.ends_with(b"\n") => Ok(text),
        None => Err(StartError::Exited),
    })
}

/// The daemon's side: the pipe on which it writes its report (one line, or a text that begins with `error:`), and which
/// it then closes. `None` when no process waits for the report, or when this function was called before.
pub fn ready_fd() -> Option<File> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number: i32 = std::env::var(READY_FD).ok()?.parse().ok()?;
    if number <= libc::STDERR_FILENO || TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    #[expect(unsafe_code, reason = "the descriptor was inherited, as a number")]
    // SAFETY: the process that set the variable passed this descriptor to this process, and TAKEN prevents a second
    // owner. If the number is not open, the next call fails.
    let pipe = unsafe { OwnedFd::from_raw_fd(number) };
    if rustix::io::fcntl_setfd(pipe.as_fd(), FdFlags::CLOEXEC).is_err() {
        std::mem::forget(pipe);
        return None;
    }
    let pipe = File::from(pipe);
    let is_pipe = pipe
        .metadata()
        .is_ok_and(|metadata| metadata.file_type().is_fifo());
    is_pipe.then_some(pipe)
}
