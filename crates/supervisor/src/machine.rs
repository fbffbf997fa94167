//! The supervisor's interface to the machine: time, randomness, worker processes, and where blocking work runs.
//! Called by the server, the drivers and the launchers.
//!
//! [`ThisMachine`] is the real machine. The simulation of the `tests` package provides a machine with virtual time, and
//! with tokio tasks in place of processes. Therefore no other code of this crate may read a clock that influences a
//! decision, start or end a worker process, or move work to a thread. Panes, hosted members, hooks and notifications
//! are exempt: the simulation does not cover them.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use agent_team_protocol::engine::Engine;
use agent_team_store::{Durability, Writer};
use agent_team_system::cgroup;
use agent_team_system::clock;
use agent_team_system::process::{ExitWatch, ProcessId, Signal};
use agent_team_system::random;
use agent_team_system::sibling_binary::{FindBinaryError, sibling_binary};
use agent_team_system::spawn::{self, ChildExit, ProgramSpec, spawn_session};
use agent_team_system::tree::{Tree, TreeSurvived};
use tokio::task::JoinError;

pub use agent_team_core::input::ProcessExit;

pub use crate::committer::{CommitResult, Committer, Submitted};
pub use crate::failpoints::Failpoint;

/// A future that need not be `Send`: it runs on the supervisor's thread.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// The machine that a supervisor runs on.
pub trait Machine {
    /// The monotonic clock in milliseconds, with an arbitrary start. Deadlines are values of this clock.
    fn monotonic_ms(&self) -> u64;

    /// Unix time in milliseconds, for display only.
    fn wall_ms(&self) -> u64;

    /// Fresh random bytes, requested once per start of a driver.
    fn random(&self) -> [u8; 24];

    /// The pid of the supervisor.
    fn own_pid(&self) -> u32;

    /// The process that has this pid now.
    ///
    /// # Errors
    /// When the process cannot be inspected.
    fn process(&self, pid: u32) -> io::Result<Option<ProcessId>>;

    /// The program of an engine's workers.
    ///
    /// # Errors
    /// When the program cannot be found.
    fn worker_program(&self, engine: Engine) -> Result<PathBuf, FindBinaryError>;

    /// Starts a program in a new session without a terminal. The process outlives the supervisor.
    ///
    /// # Errors
    /// When the program cannot be started.
    fn start(&self, program: &ProgramSpec) -> io::Result<ProcessId>;

    /// Returns when the process has exited, and how. After an error, the state of the process is unknown: it may still run.
    fn wait_for_exit(&self, process: ProcessId) -> LocalFuture<io::Result<ProcessExit>>;

    /// Kills a process that has started no other process, and waits at most `limit` for its exit.
    fn kill_process(
        &self,
        process: ProcessId,
        limit: Duration,
    ) -> LocalFuture<Result<Vec<ProcessId>, TreeSurvived>>;

    /// Kills all processes of a launch, and waits at most `limit` for their exit. Returns the killed processes.
    fn kill_tree(
        &self,
        tree: Tree,
        limit: Duration,
    ) -> LocalFuture<Result<Vec<ProcessId>, TreeSurvived>>;

    /// The living processes of a launch.
    ///
    /// # Errors
    /// When the processes cannot be listed.
    fn survivors(&self, tree: &Tree) -> io::Result<Vec<ProcessId>>;

    /// Reaps exited workers that are children of this supervisor.
    fn reap(&self);

    /// Creates the committer of a team, which runs commits on this thread or on a thread of the store.
    ///
    /// # Errors
    /// When the store's thread cannot be started.
    fn committer(&self, writer: Writer, durability: Durability) -> io::Result<Box<dyn Committer>>;

    /// Runs blocking work on another thread. Returns an error if the work panics.
    fn offload(&self, work: Box<dyn FnOnce() + Send>) -> LocalFuture<Result<(), JoinError>>;

    /// Called at each failpoint of the driver. A test can end the supervisor there.
    fn reach_failpoint(&self, point: Failpoint);
}

/// The real machine.
#[derive(Debug)]
pub(crate) struct ThisMachine;

impl Machine for ThisMachine {
    fn monotonic_ms(&self) -> u64 {
        clock::monotonic_ms()
    }

    fn wall_ms(&self) -> u64 {
        clock::wall_ms()
    }

    fn random(&self) -> [u8; 24] {
        random::bytes()
    }

    fn own_pid(&self) -> u32 {
        std::process::id()
    }

    fn process(&self, pid: u32) -> io::Result<Option<ProcessId>> {
        ProcessId::of(pid)
    }

    fn worker_program(&self, engine: Engine) -> Result<PathBuf, FindBinaryError> {
        sibling_binary(engine.worker())
    }

    fn start(&self, program: &ProgramSpec) -> io::Result<ProcessId> {
        // The driver waits for the exit of each worker and reaps its process, so no tokio task waits for the process
        // here.
        Ok(spawn_session(program, None)?.unwatched())
    }

    fn wait_for_exit(&self, process: ProcessId) -> LocalFuture<io::Result<ProcessExit>> {
        Box::pin(async move {
            if let Some(mut watch) = ExitWatch::open(process)? {
                watch.exited().await?;
            }
            Ok(match spawn::exit_of(process.pid) {
                Some(ChildExit::Status(status)) => ProcessExit::Status(status),
                Some(ChildExit::Signal(signal)) => ProcessExit::Signal(signal),
                None => ProcessExit::Unknown,
            })
        })
    }

    fn kill_process(
        &self,
        process: ProcessId,
        limit: Duration,
    ) -> LocalFuture<Result<Vec<ProcessId>, TreeSurvived>> {
        Box::pin(async move {
            let Some(mut watch) = ExitWatch::open(process)? else {
                return Ok(Vec::new());
            };
            watch.signal(Signal::SIGKILL)?;
            if watch.exited_within(limit).await? {
                Ok(vec![process])
            } else {
                Err(TreeSurvived::Alive {
                    survivors: vec![process],
                    ended: Vec::new(),
                })
            }
        })
    }

    fn kill_tree(
        &self,
        tree: Tree,
        limit: Duration,
    ) -> LocalFuture<Result<Vec<ProcessId>, TreeSurvived>> {
        Box::pin(async move {
            let launch = tree.marker.clone();
            let ended = tree.end(limit).await;
            // Remove the control group only after all processes have exited: the kernel refuses to remove a control
            // group that contains processes.
            if let (Ok(_), Some(unit)) = (&ended, cgroup::delegated()) {
                cgroup::remove(&unit, &launch);
            }
            ended
        })
    }

    fn survivors(&self, tree: &Tree) -> io::Result<Vec<ProcessId>> {
        tree.survivors()
    }

    fn reap(&self) {
        if let Err(error) = spawn::reap_unwatched() {
            tracing::warn!(%error, "cannot reap a worker");
        }
    }

    fn committer(&self, writer: Writer, durability: Durability) -> io::Result<Box<dyn Committer>> {
        Ok(match durability {
            Durability::Process => Box::new(crate::committer::Inline(Box::new(writer))),
            Durability::Power => Box::new(crate::committer::Threaded::start(writer)?),
        })
    }

    fn offload(&self, work: Box<dyn FnOnce() + Send>) -> LocalFuture<Result<(), JoinError>> {
        Box::pin(tokio::task::spawn_blocking(work))
    }

    fn reach_failpoint(&self, point: Failpoint) {
        crate::failpoints::pass(point);
    }
}
