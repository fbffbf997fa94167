//! The simulated machine: virtual time, seeded randomness, processes that are tasks, and the failpoints at which a
//! supervisor may crash.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use agent_team_protocol::engine::Engine;
use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_store::{Durability, Writer};
use agent_team_supervisor::machine::{
    self as real, Committer, Failpoint, LocalFuture, ProcessExit,
};
use agent_team_system::process::ProcessId;
use agent_team_system::sibling_binary::FindBinaryError;
use agent_team_system::spawn::ProgramSpec;
use agent_team_system::tree::{Tree, TreeSurvived};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinError};
use tokio::time::{Instant, sleep, sleep_until};

use super::committer::Disk;
use super::network::{ConnectionSelector, Network};
use crate::torture::history::Dice;

/// The first pid. It is above every real pid, so that a bug of the simulation signals no real process.
const FIRST_PID: u32 = 0x4000_0000;

/// The monotonic time at the start, in milliseconds.
const BOOTED: u64 = 1_000_000;

/// The wall time at the start, in milliseconds.
const WALL: u64 = 1_800_000_000_000;

/// A started worker process. The task that simulates the process receives this value.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) pid: u32,
    pub(super) launch_file: PathBuf,
}

/// The machine as one supervisor sees it. The machines of all supervisors share everything but the pid.
#[derive(Clone)]
pub(super) struct Machine {
    shared: Rc<Shared>,
    /// The pid of this supervisor.
    pid: u32,
}

struct Shared {
    epoch: Instant,
    wall_jump: Cell<i64>,
    dice: RefCell<Dice>,
    network: Network,
    processes: RefCell<BTreeMap<u32, Process>>,
    next_pid: Cell<u32>,
    starts: mpsc::UnboundedSender<Start>,
    crash_at: Cell<Option<Failpoint>>,
    crashed: Notify,
    disk_full: Cell<bool>,
    /// Starts and ends of processes so far.
    events: Cell<u64>,
}

struct Process {
    marker: String,
    task: Option<AbortHandle>,
    /// When the process disappears from the process table, which may be later than its end; `None` while it runs.
    gone_at: Option<Instant>,
    ended: Rc<Notify>,
}

/// The payload of the panic that unwinds a task of a supervisor when the supervisor crashes.
struct Crash;

impl Machine {
    /// Returns the machine, and the receiver of the workers' processes as they are started.
    pub(super) fn new(dice: Dice, network: Network) -> (Self, mpsc::UnboundedReceiver<Start>) {
        let (starts, started) = mpsc::unbounded_channel();
        let shared = Shared {
            epoch: Instant::now(),
            wall_jump: Cell::new(0),
            dice: RefCell::new(dice),
            network,
            processes: RefCell::default(),
            next_pid: Cell::new(FIRST_PID),
            starts,
            crash_at: Cell::new(None),
            crashed: Notify::new(),
            disk_full: Cell::new(false),
            events: Cell::new(0),
        };
        let machine = Self {
            shared: Rc::new(shared),
            pid: 0,
        };
        (machine, started)
    }

    /// The machine for the next supervisor.
    pub(super) fn for_supervisor(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            pid: self.take_pid(),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn network(&self) -> &Network {
        &self.shared.network
    }

    /// A random number below `limit`.
    pub(super) fn roll(&self, limit: u64) -> u64 {
        self.shared.dice.borrow_mut().below(limit)
    }

    pub(super) fn pause(&self, low_ms: u64, high_ms: u64) -> tokio::time::Sleep {
        sleep(self.shared.dice.borrow_mut().between(low_ms, high_ms))
    }

    pub(super) fn process_events(&self) -> u64 {
        self.shared.events.get()
    }

    /// Sets how far the wall clock is ahead of the simulated time, in milliseconds; negative if it is behind.
    pub(super) fn jump(&self, wall_ms: i64) {
        self.shared.wall_jump.set(wall_ms);
    }

    pub(super) fn set_disk_full(&self, is_full: bool) {
        self.shared.disk_full.set(is_full);
    }

    pub(super) fn is_disk_full(&self) -> bool {
        self.shared.disk_full.get()
    }

    /// Makes the supervisor crash when it next passes this point.
    pub(super) fn crash_at(&self, point: Option<Failpoint>) {
        self.shared.crash_at.set(point);
    }

    /// Returns when a supervisor has crashed.
    pub(super) async fn crashed(&self) {
        self.shared.crashed.notified().await;
    }

    /// Sets the task that simulates the process `pid`. Aborts the task if the process was killed before.
    pub(super) fn attach(&self, pid: u32, task: AbortHandle) {
        let mut processes = self.shared.processes.borrow_mut();
        match processes.get_mut(&pid) {
            Some(process) if process.gone_at.is_none() => process.task = Some(task),
            Some(_) | None => task.abort(),
        }
    }

    /// Pids of the living workers.
    pub(super) fn workers(&self) -> Vec<u32> {
        let processes = self.shared.processes.borrow();
        let alive = processes
            .iter()
            .filter(|(_, process)| process.gone_at.is_none());
        alive.map(|(pid, _)| *pid).collect()
    }

    /// Ends a process as `kill -9` does. Of 100 processes, 99 disappear within 4 ms. One takes more than 5 s, to
    /// simulate a kernel that releases a process late.
    pub(super) fn kill(&self, pid: u32) {
        let gone_after = match self.roll(100) {
            0 => 5_500 + self.roll(1_500),
            1..50 => self.roll(4),
            _ => 0,
        };
        self.end(pid, Duration::from_millis(gone_after));
    }

    /// Ends a process that exits by itself.
    pub(super) fn exit(&self, pid: u32) {
        self.end(pid, Duration::ZERO);
    }

    fn end(&self, pid: u32, gone_after: Duration) {
        let mut processes = self.shared.processes.borrow_mut();
        let Some(process) = processes.get_mut(&pid) else {
            return;
        };
        if process.gone_at.is_some() {
            return;
        }
        process.gone_at = Some(Instant::now() + gone_after);
        process.ended.notify_waiters();
        let task = process.task.take();
        drop(processes);
        self.shared.events.set(self.shared.events.get() + 1);
        self.shared.network.cut(ConnectionSelector::Of(pid));
        if let Some(task) = task {
            task.abort();
        }
    }

    fn take_pid(&self) -> u32 {
        let pid = self.shared.next_pid.get();
        self.shared.next_pid.set(pid + 1);
        pid
    }

    fn is_alive(&self, pid: u32) -> bool {
        let processes = self.shared.processes.borrow();
        processes
            .get(&pid)
            .is_some_and(|process| process.gone_at.is_none_or(|at| at > Instant::now()))
    }

    /// Kills processes, and waits for at most `limit` until all have disappeared.
    async fn end_all(
        self,
        victims: Vec<ProcessId>,
        limit: Duration,
    ) -> Result<Vec<ProcessId>, TreeSurvived> {
        for victim in &victims {
            self.kill(victim.pid);
        }
        let deadline = Instant::now() + limit;
        let gone_at = {
            let processes = self.shared.processes.borrow();
            let times = victims
                .iter()
                .filter_map(|victim| processes.get(&victim.pid)?.gone_at);
            times.max().unwrap_or_else(Instant::now)
        };
        sleep_until(gone_at.min(deadline)).await;
        let (survivors, ended): (Vec<_>, Vec<_>) = victims
            .into_iter()
            .partition(|victim| self.is_alive(victim.pid));
        match survivors.is_empty() {
            true => Ok(ended),
            false => Err(TreeSurvived::Alive { survivors, ended }),
        }
    }
}

/// The identity of the process with this pid. Each pid is used once, so the pid determines the start time.
fn process_of(pid: u32) -> ProcessId {
    ProcessId {
        pid,
        start_time: u64::from(pid) * 7,
    }
}

impl real::Machine for Machine {
    fn monotonic_ms(&self) -> u64 {
        let elapsed = self.shared.epoch.elapsed().as_millis();
        BOOTED + u64::try_from(elapsed).unwrap_or(u64::MAX)
    }

    fn wall_ms(&self) -> u64 {
        let elapsed = self.monotonic_ms() - BOOTED;
        (WALL + elapsed).saturating_add_signed(self.shared.wall_jump.get())
    }

    fn random(&self) -> [u8; 24] {
        std::array::from_fn(|_| u8::try_from(self.roll(256)).unwrap_or(0))
    }

    fn own_pid(&self) -> u32 {
        self.pid
    }

    fn process(&self, pid: u32) -> io::Result<Option<ProcessId>> {
        Ok(self.is_alive(pid).then(|| process_of(pid)))
    }

    fn worker_program(&self, engine: Engine) -> Result<PathBuf, FindBinaryError> {
        Ok(PathBuf::from("/simulated").join(engine.worker()))
    }

    fn start(&self, program: &ProgramSpec) -> io::Result<ProcessId> {
        if self.roll(150) == 0 {
            return Err(io::Error::other("there is no room for another process"));
        }
        let marker = program.env.iter().find(|(name, _)| name == LAUNCH_MARKER);
        let marker = marker.map(|(_, value)| value.to_string_lossy().into_owned());
        let launch_file = program.args.last().expect("--launch FILE").into();
        let pid = self.take_pid();
        let process = Process {
            marker: marker.unwrap_or_default(),
            task: None,
            gone_at: None,
            ended: Rc::default(),
        };
        self.shared.processes.borrow_mut().insert(pid, process);
        self.shared.events.set(self.shared.events.get() + 1);
        let _simulation_over = self.shared.starts.send(Start { pid, launch_file });
        Ok(process_of(pid))
    }

    fn wait_for_exit(&self, process: ProcessId) -> LocalFuture<io::Result<ProcessExit>> {
        let machine = self.clone();
        Box::pin(async move {
            loop {
                let (gone_at, ended) = {
                    let processes = machine.shared.processes.borrow();
                    match processes.get(&process.pid) {
                        Some(process) => (process.gone_at, process.ended.clone()),
                        None => return Ok(ProcessExit::Unknown),
                    }
                };
                match gone_at {
                    Some(at) => {
                        sleep_until(at).await;
                        return Ok(ProcessExit::Unknown);
                    }
                    None => ended.notified().await,
                }
            }
        })
    }

    fn kill_process(
        &self,
        process: ProcessId,
        limit: Duration,
    ) -> LocalFuture<Result<Vec<ProcessId>, TreeSurvived>> {
        let victims = Vec::from_iter(self.is_alive(process.pid).then_some(process));
        Box::pin(self.clone().end_all(victims, limit))
    }

    fn kill_tree(
        &self,
        tree: Tree,
        limit: Duration,
    ) -> LocalFuture<Result<Vec<ProcessId>, TreeSurvived>> {
        let victims = self.survivors(&tree).unwrap_or_default();
        Box::pin(self.clone().end_all(victims, limit))
    }

    fn survivors(&self, tree: &Tree) -> io::Result<Vec<ProcessId>> {
        let root = tree.root.map(|root| root.pid);
        let processes = self.shared.processes.borrow();
        let marked = processes
            .iter()
            .filter(|(pid, process)| process.marker == tree.marker || Some(**pid) == root);
        let alive = marked.filter(|(pid, _)| self.is_alive(**pid));
        Ok(alive.map(|(pid, _)| process_of(*pid)).collect())
    }

    fn reap(&self) {}

    fn committer(&self, writer: Writer, _durability: Durability) -> io::Result<Box<dyn Committer>> {
        Ok(Box::new(Disk::new(writer, self.clone())))
    }

    fn offload(&self, work: Box<dyn FnOnce() + Send>) -> LocalFuture<Result<(), JoinError>> {
        let pause = match self.roll(3) {
            0 => self.roll(10),
            _ => 0,
        };
        Box::pin(async move {
            sleep(Duration::from_millis(pause)).await;
            work();
            Ok(())
        })
    }

    fn reach_failpoint(&self, point: Failpoint) {
        if self.shared.crash_at.get() != Some(point) {
            return;
        }
        self.shared.crash_at.set(None);
        self.shared.network.stop_listening();
        self.shared.network.cut(ConnectionSelector::All);
        self.shared.crashed.notify_one();
        // Unwind this task like a panic, but without printing a message. The other tasks of the supervisor are dropped
        // before they run again.
        std::panic::resume_unwind(Box::new(Crash));
    }
}
