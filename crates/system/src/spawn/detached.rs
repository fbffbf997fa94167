//! Starting a daemon and learning whether it is ready. Called by whoever needs the supervisor.
//!
//! ```text
//! caller ── fork ── intermediate: setsid ── fork ── daemon: exec
//!    │                    └ exits                     │
//!    └── reads one line ◄──── pipe, AGENT_TEAM_READY_FD ──┘
//! ```
//! The daemon is nobody's child: not even of a worker, which as a subreaper would otherwise adopt
//! it, count it to its tree and kill it with that.

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

/// Names the descriptor on which a daemon reports, in its environment.
pub const READY_FD: &str = "AGENT_TEAM_READY_FD";

/// What a daemon's report is cut off at.
const REPORT_BYTES: u64 = 64 * 1024;

/// A daemon: null stdio, a session of its own, working directory `/`, no parent, no launch.
#[derive(Clone, Debug)]
pub struct Detached {
    spec: ProgramSpec,
}

/// Why a daemon did not become ready.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot start {program}")]
    Spawn { program: String, source: io::Error },
    /// It said why; the text is its own, for a person.
    #[error("{0}")]
    Refused(String),
    #[error("it ended before it was ready and said nothing")]
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

    /// Starts it and waits for its report: one line, which is returned, or a text that begins with
    /// `error:`. A daemon that is not ready in time is left alone: it may still become so.
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
            // SAFETY: this already is the single-threaded child of a fork, and both sides go on
            // with system calls only, as `before_exec` demands.
            match unsafe { nix::unistd::fork() }? {
                ForkResult::Parent { .. } => {
                    #[expect(unsafe_code, reason = "no destructor of ours may run here")]
                    // SAFETY: _exit only ends the process.
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
        // The intermediate is not for anybody else to reap.
        let own = own_children();
        let adopts = os::is_subreaper()?;
        if adopts {
            os::set_subreaper(false)?;
        }
        // Returns when the daemon runs or could not: both forks hold std's error pipe until exec.
        let spawned = command
            .spawn()
            .and_then(|mut intermediate| intermediate.wait());
        if adopts {
            os::set_subreaper(true)?;
        }
        drop(own);
        spawned?;
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

/// The daemon's side: the pipe on which to write `ready …\n` or `error: …\n` and which to close
/// then. `None` when nobody waits, or when it was taken before.
pub fn ready_fd() -> Option<File> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number: i32 = std::env::var(READY_FD).ok()?.parse().ok()?;
    if number <= libc::STDERR_FILENO || TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    #[expect(unsafe_code, reason = "the descriptor was inherited, as a number")]
    // SAFETY: whoever set the variable gave us this descriptor to own, and TAKEN lets nobody own it
    // twice. A number that is not open shows in the next call, which then fails.
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
