//! Starts programs. Each program gets a complete environment, a working directory, its own session, and only the
//! descriptors that are passed to it. Called by the client (to start the supervisor), by the supervisor (headless
//! workers and host processes), by the workers (to reap orphans), by the tools, by [`crate::sandbox`], and through
//! [`crate::pty`] by the command engine and for terminal programs.
//!
//! This module also reaps the children that it starts, each by its pid: a wait for any child could take the exit status
//! away from the caller that waits for that child. A worker is a subreaper and reaps the orphans that it adopts with
//! [`reap_orphans`].
//!
//! [`Child`] neither kills nor reaps when dropped.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{SigHandler, Signal as NixSignal};
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, waitid, waitpid};
use tokio::signal::unix::SignalKind;

use crate::process::{ExitWatch, ProcessId, Signal};
use crate::{descriptors, os};

mod detached;

pub use detached::{Detached, READY_FD, StartError, ready_fd};

/// A program to start.
#[derive(Clone, Debug)]
pub struct ProgramSpec {
    /// A path, or a name that is looked up in the `PATH` of `env`.
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// The complete environment: nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    pub cwd: PathBuf,
}

impl ProgramSpec {
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.cwd);
        command
    }
}

/// A child of this process. The owner must call [`Child::wait`] or [`Child::unwatched`], or the zombie stays.
#[derive(Debug)]
pub struct Child {
    pub process: ProcessId,
    watch: ExitWatch,
    /// The exit status, if the child was reaped.
    status: Option<ExitStatus>,
}

impl Child {
    pub(crate) fn start(command: &mut Command) -> io::Result<Child> {
        // Dropping std's child neither kills nor reaps it.
        Child::of(|| Ok(command.spawn()?.id()))
    }

    /// Starts a child with `spawn`, which returns the child's pid.
    fn of(spawn: impl FnOnce() -> io::Result<u32>) -> io::Result<Child> {
        let pid = {
            let mut children = own_children();
            let pid = spawn()?;
            children.insert(pid);
            pid
        };
        let watch = ExitWatch::of_child(pid)?;
        Ok(Child {
            process: watch.process(),
            watch,
            status: None,
        })
    }

    /// Closes the descriptor that reports the child's exit. [`reap_unwatched`] reaps the child later.
    pub fn unwatched(self) -> ProcessId {
        unwatched_children().insert(self.process.pid);
        self.process
    }

    /// Waits for the child's exit and reaps it. Cancel-safe, and can be repeated.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        self.watch.exited().await?;
        let pid = i32::try_from(self.process.pid).map_err(io::Error::other)?;
        let pid = Pid::from_raw(pid)
            .ok_or_else(|| io::Error::other("the pid of the child is invalid"))?;
        let ended = waitpid(Some(pid), WaitOptions::empty())?;
        let (_pid, status) = ended.ok_or_else(|| io::Error::other("the child has not exited"))?;
        own_children().remove(&self.process.pid);
        Ok(*self.status.insert(ExitStatus::from_raw(status.as_raw())))
    }

    /// Signals only the child. False if the child has already exited.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        self.watch.signal(signal)
    }
}

/// Starts a program without a terminal in its own session, with empty stdin, and with stdout and stderr to `log` or
/// `/dev/null`. Must be called within a tokio runtime.
pub fn spawn_session(spec: &ProgramSpec, log: Option<File>) -> io::Result<Child> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let output = log.as_ref().unwrap_or(&null).as_fd();
    Child::of(|| os::spawn_session(spec, [null.as_fd(), output, output]))
}

/// [`spawn_session`] with these descriptors as stdin, stdout and stderr.
pub fn spawn_session_with(spec: &ProgramSpec, stdio: [OwnedFd; 3]) -> io::Result<Child> {
    let [input, output, errors] = &stdio;
    Child::of(|| os::spawn_session(spec, [input.as_fd(), output.as_fd(), errors.as_fd()]))
}

/// Adds the actions of every child between fork and exec. The child gets its own session, the default signal
/// dispositions (std resets only the mask and SIGPIPE) and the original limit of open files. All descriptors above
/// stderr become close-on-exec. `then` runs last.
///
/// `then` runs in the child of a possibly threaded process: it must make system calls only, and neither allocate nor
/// lock.
pub(crate) fn before_exec(
    command: &mut Command,
    then: impl Fn() -> io::Result<()> + Send + Sync + 'static,
) {
    let prepare = move || {
        rustix::process::setsid()?;
        for signal in NixSignal::iterator() {
            #[expect(unsafe_code, reason = "setting a disposition is unsafe in nix")]
            // SAFETY: no handler is installed, only the default disposition, and the child has a single thread. The
            // calls for SIGKILL and SIGSTOP fail, which changes nothing: their dispositions are fixed.
            let _previous = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
        }
        os::close_descriptors_on_exec();
        descriptors::lower_limit()?;
        then()
    };
    #[expect(unsafe_code, reason = "code between fork and exec")]
    // SAFETY: `prepare` makes system calls only: it neither allocates nor takes a lock that another
    // thread may have held at the fork. The callers of `before_exec` pass a `then` that obeys the same rule.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// Reaps the exited children that were released with [`Child::unwatched`].
pub fn reap_unwatched() -> io::Result<()> {
    let mut children = own_children();
    let mut unwatched = unwatched_children();
    for raw in unwatched.clone() {
        let Some(pid) = i32::try_from(raw).ok().and_then(Pid::from_raw) else {
            continue;
        };
        match waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(None) => continue,
            Ok(Some(_)) | Err(rustix::io::Errno::CHILD) => {}
            Err(error) => return Err(error.into()),
        }
        unwatched.remove(&raw);
        children.remove(&raw);
    }
    Ok(())
}

/// How a child exited that has not been reaped. Leaves its status in place. `None` if the process is alive or is not a
/// child of this process.
pub fn exit_of(pid: u32) -> Option<ChildExit> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(pid), look).ok()??;
    let exited = status.exit_status().map(ChildExit::Status);
    exited.or_else(|| status.terminating_signal().map(ChildExit::Signal))
}

/// How a child exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildExit {
    Status(i32),
    Signal(i32),
}

fn unwatched_children() -> MutexGuard<'static, BTreeSet<u32>> {
    static UNWATCHED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
    // A panic cannot leave the set inconsistent: each operation on it is complete.
    UNWATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes this process adopt the orphans among its descendants. Linux only; on other systems orphans are found only by
/// session and marker.
pub fn become_subreaper() -> io::Result<()> {
    os::set_subreaper(true)
}

/// Reaps the exited orphans that this process adopted, and returns their pids. Never blocks. It also reaps children
/// that were started without this crate: their exit status is lost.
pub fn reap_any() -> io::Result<Vec<u32>> {
    let children = own_children();
    // NOWAIT leaves the status in place. Usually no child has exited, and the process table need not be read.
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::All, look) {
        Ok(Some(_)) => {}
        Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    }
    // waitid(2) cannot exclude the children that a [`Child`] waits for: with WNOWAIT it returns the same zombie again
    // and again, and without it the exit status is lost. So the zombies are taken from the process table, and each one
    // is reaped by its pid.
    let own_pid = std::process::id();
    let mut reaped = Vec::new();
    for stat in os::processes()? {
        if stat.parent != own_pid || !stat.zombie || children.contains(&stat.pid) {
            continue;
        }
        let Some(pid) = i32::try_from(stat.pid).ok().and_then(Pid::from_raw) else {
            continue;
        };
        match waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(Some(_)) => reaped.push(stat.pid),
            Ok(None) | Err(rustix::io::Errno::CHILD) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(reaped)
}

/// Calls [`reap_any`] whenever a child exits, as long as the future is polled. Returns only with an error.
///
/// The signal handler is installed before the first call, so an orphan that exits between the two is not missed. The
/// kernel merges pending SIGCHLDs (signal(7)): one signal can mean several exits, and each call reaps all of them.
pub async fn reap_orphans() -> io::Error {
    let mut child_ended = match tokio::signal::unix::signal(SignalKind::child()) {
        Ok(signal) => signal,
        Err(error) => return error,
    };
    loop {
        if let Err(error) = reap_any() {
            return error;
        }
        if child_ended.recv().await.is_none() {
            return io::Error::other("the runtime no longer delivers SIGCHLD");
        }
    }
}

/// The pids of all children that were started here and not yet reaped.
///
/// The lock is held from before a fork until the new pid is inserted, and while orphans are reaped. Without it
/// [`reap_any`] could see a child between its fork and its insertion, take it for an orphan and reap it; its [`Child`]
/// would then never get the exit status.
fn own_children() -> MutexGuard<'static, BTreeSet<u32>> {
    static OWN_CHILDREN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
    // A panic cannot leave the set inconsistent: each operation on it is complete.
    OWN_CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}
