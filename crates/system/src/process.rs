//! Who a process is, and when it ends. Called by the launchers, by adoption and by [`crate::tree`].
//!
//! A pid is a number that the kernel hands out again; a pid with its start time names one process
//! of this boot. Life is asked of the process table or of a pidfd, never by sending signal 0, which
//! also succeeds on zombies and on the number's next owner. Ids recorded under another
//! [`crate::clock::boot_id`] mean nothing: compare that first.

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
    /// The process that has this pid now; `None` when there is none or only its zombie.
    pub fn of(pid: u32) -> io::Result<Option<ProcessId>> {
        Ok(os::stat(pid)?
            .filter(|stat| !stat.zombie)
            .map(|stat| ProcessId::from(&stat)))
    }

    pub fn current() -> io::Result<ProcessId> {
        ProcessId::of(std::process::id())?
            .ok_or_else(|| io::Error::other("this process is not in the process table"))
    }

    /// An error means unknown, not dead.
    pub fn is_alive(&self) -> io::Result<bool> {
        Ok(ProcessId::of(self.pid)? == Some(*self))
    }

    /// Whether it is stopped, as by SIGSTOP: it lives and does nothing.
    pub fn is_stopped(&self) -> io::Result<bool> {
        Ok(os::stat(self.pid)?.is_some_and(|stat| stat.stopped && ProcessId::from(&stat) == *self))
    }

    /// Sends a signal to exactly this process. False when it had ended already.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        match self.hold()? {
            Some(handle) => handle.signal(signal),
            None => Ok(false),
        }
    }

    /// Opens the pid, then looks whether it is still ours: from then on it cannot change hands.
    fn hold(self) -> io::Result<Option<os::Handle>> {
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

/// Memory that a process has for itself alone, in RAM; `None` when it is gone.
pub fn anonymous_bytes(pid: u32) -> io::Result<Option<u64>> {
    os::anonymous_bytes(pid)
}

/// Memory that a process has in RAM, in bytes; `None` when it is gone.
pub fn resident_bytes(pid: u32) -> io::Result<Option<u64>> {
    os::resident_bytes(pid)
}

/// Tells when one process ends, whoever's child it is.
#[derive(Debug)]
pub struct ExitWatch {
    process: ProcessId,
    handle: AsyncFd<os::Handle>,
}

impl ExitWatch {
    /// `None` when it has ended already. Must be called within a tokio runtime.
    pub fn open(process: ProcessId) -> io::Result<Option<ExitWatch>> {
        process
            .hold()?
            .map(|handle| ExitWatch::over(process, handle))
            .transpose()
    }

    /// For a child that nobody has waited for: its pid is ours even if it has ended already.
    pub(crate) fn of_child(pid: u32) -> io::Result<ExitWatch> {
        let gone = || io::Error::other(format!("child {pid} was waited for by somebody else"));
        let handle = os::Handle::open(pid)?.ok_or_else(gone)?;
        let process = ProcessId::from(&os::stat(pid)?.ok_or_else(gone)?);
        ExitWatch::over(process, handle)
    }

    fn over(process: ProcessId, handle: os::Handle) -> io::Result<ExitWatch> {
        Ok(ExitWatch {
            process,
            handle: register(handle, Interest::READABLE)?,
        })
    }

    pub fn process(&self) -> ProcessId {
        self.process
    }

    /// Returns when the process has ended, at once if it has. Safe to cancel and to repeat. An
    /// error means unknown, not dead.
    pub async fn exited(&mut self) -> io::Result<()> {
        self.handle.readable().await?.retain_ready();
        Ok(())
    }

    /// Like [`ExitWatch::exited`]; false when `limit` passes first.
    pub async fn exited_within(&mut self, limit: Duration) -> io::Result<bool> {
        match tokio::time::timeout(limit, self.exited()).await {
            Ok(result) => result.map(|()| true),
            Err(_elapsed) => Ok(false),
        }
    }

    /// Sends a signal to exactly this process. False when it had ended already.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        self.handle.get_ref().signal(signal)
    }
}
