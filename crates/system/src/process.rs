//! Identity and exit of a process. Called by all code that starts, finds or ends processes.
//!
//! The kernel reuses pids; a pid together with its start time identifies one process of this boot. Liveness is read
//! from the process table or from a pidfd, never by sending signal 0, which also succeeds for zombies and for a process
//! that got the same pid later. Ids recorded under another [`crate::clock::boot_id`] are invalid: compare that first.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::os;
use crate::readiness::register;

pub use nix::sys::signal::Signal;

/// One process of this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: u32,
    /// Clock ticks since boot (Linux) or microseconds of Unix time (macOS). Only for comparing.
    pub start_time: u64,
}

impl ProcessId {
    /// The process that has this pid now; `None` when there is none or only a zombie.
    pub fn of(pid: u32) -> io::Result<Option<ProcessId>> {
        Ok(os::stat(pid)?
            .filter(|stat| !stat.zombie)
            .map(|stat| ProcessId::from(&stat)))
    }

    /// This process.
    ///
    /// # Errors
    /// The process table cannot be read.
    pub fn current() -> io::Result<ProcessId> {
        ProcessId::of(std::process::id())?
            .ok_or_else(|| io::Error::other("this process is not in the process table"))
    }

    /// Whether the process is running. After an error, the state of the process is unknown: it may still run.
    pub fn is_alive(&self) -> io::Result<bool> {
        Ok(ProcessId::of(self.pid)? == Some(*self))
    }

    /// Whether the process with this pid is the process `self` or one of the descendants of `self`. An orphan is a
    /// descendant of the process that adopted it.
    ///
    /// # Errors
    /// The process table cannot be read.
    pub fn is_ancestor_of(&self, pid: u32) -> io::Result<bool> {
        let mut pid = pid;
        let mut youngest = u64::MAX;
        while pid > 1 {
            let Some(stat) = os::stat(pid)? else {
                return Ok(false);
            };
            // A parent is older than its child. If the process in `stat` is younger than the child, it reuses the pid
            // of the parent, which has exited.
            if stat.start_time > youngest {
                return Ok(false);
            }
            if ProcessId::from(&stat) == *self {
                return Ok(true);
            }
            (pid, youngest) = (stat.parent, stat.start_time);
        }
        Ok(false)
    }

    /// Whether the process is stopped, for example by SIGSTOP.
    pub fn is_stopped(&self) -> io::Result<bool> {
        Ok(os::stat(self.pid)?.is_some_and(|stat| stat.stopped && ProcessId::from(&stat) == *self))
    }

    /// Signals the process, never another process that got its pid later. False if the process has already exited.
    ///
    /// # Errors
    /// The process belongs to another user, or the process table cannot be read.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        match self.open_handle()? {
            Some(handle) => handle.signal(signal),
            None => Ok(false),
        }
    }

    /// Opens a handle on the pid, then checks that the pid still belongs to this process. In this order the handle
    /// cannot refer to another process that got the pid later.
    fn open_handle(self) -> io::Result<Option<os::Handle>> {
        let Some(handle) = os::Handle::open(self.pid)? else {
            return Ok(None);
        };
        Ok(self.is_alive()?.then_some(handle))
    }
}

impl From<&os::Stat> for ProcessId {
    fn from(stat: &os::Stat) -> ProcessId {
        ProcessId {
            pid: stat.pid,
            start_time: stat.start_time,
        }
    }
}

/// Kills all processes of the group whose leader is this child. The child must not have been reaped: until it is
/// reaped, its pid cannot identify another group.
pub fn kill_group(leader: u32) -> io::Result<()> {
    let leader = i32::try_from(leader)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let leader = leader.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    match rustix::process::kill_process_group(leader, rustix::process::Signal::KILL) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        result => Ok(result?),
    }
}

/// Bytes of a process's memory in RAM that are backed neither by a file nor by shared memory; `None` when the process
/// has exited. macOS does not report anonymous memory: there, this function returns [`resident_bytes`].
pub fn anonymous_bytes(pid: u32) -> io::Result<Option<u64>> {
    os::anonymous_bytes(pid)
}

/// Memory of a process in RAM, in bytes; `None` when the process has exited.
pub fn resident_bytes(pid: u32) -> io::Result<Option<u64>> {
    os::resident_bytes(pid)
}

/// Reports the exit of one process, which need not be a child of this process.
#[derive(Debug)]
pub struct ExitWatch {
    process: ProcessId,
    handle: AsyncFd<os::Handle>,
}

impl ExitWatch {
    /// Starts to watch a process; `None` if it has already exited. Must be called within a tokio runtime.
    pub fn open(process: ProcessId) -> io::Result<Option<ExitWatch>> {
        process
            .open_handle()?
            .map(|handle| ExitWatch::new(process, handle))
            .transpose()
    }

    /// Watches a child that has not been reaped. Its pid cannot be reused, so this works even if the child has already
    /// exited.
    pub(crate) fn of_child(pid: u32) -> io::Result<ExitWatch> {
        let gone = || io::Error::other(format!("child {pid} was reaped by another wait"));
        let handle = os::Handle::open(pid)?.ok_or_else(gone)?;
        let process = ProcessId::from(&os::stat(pid)?.ok_or_else(gone)?);
        ExitWatch::new(process, handle)
    }

    fn new(process: ProcessId, handle: os::Handle) -> io::Result<ExitWatch> {
        Ok(ExitWatch {
            process,
            handle: register(handle, Interest::READABLE)?,
        })
    }

    pub fn process(&self) -> ProcessId {
        self.process
    }

    /// Returns when the process has exited. Cancel-safe, and can be repeated. After an error, the process may still
    /// run.
    pub async fn exited(&mut self) -> io::Result<()> {
        // A pidfd stays readable after the exit (pidfd_open(2)), but tokio registers it edge-triggered and is notified
        // only once. So the readiness is kept: if one call cleared it, the next call would wait forever.
        self.handle.readable().await?.retain_ready();
        Ok(())
    }

    /// [`ExitWatch::exited`] with a timeout; false when `limit` passes first.
    pub async fn exited_within(&mut self, limit: Duration) -> io::Result<bool> {
        match tokio::time::timeout(limit, self.exited()).await {
            Ok(result) => result.map(|()| true),
            Err(_elapsed) => Ok(false),
        }
    }

    /// Signals the process, never another process that got its pid later. False if the process has already exited.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        self.handle.get_ref().signal(signal)
    }
}
