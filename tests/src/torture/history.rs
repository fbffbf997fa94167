//! What happened during a torture, as its clients and its nemesis saw it: plain data that the checkers read.
//!
//! Clients record each operation with its outcome through [`Recorder`]. The rest of [`Evidence`] is read from the
//! product's public interfaces when the faults have stopped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Event;

/// One operation of a client: a call that is repeated with its key until it is answered.
#[derive(Debug, Clone)]
pub struct Operation {
    pub client: String,
    /// Since the torture began.
    pub began: Duration,
    pub ended: Duration,
    pub call: Call,
    pub outcome: Outcome,
}

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `text` is unique to the operation.
    Send {
        to: String,
        text: String,
    },
    /// `key` is unique to the operation.
    AddTask {
        key: String,
    },
    Claim {
        task: u64,
    },
    Release {
        task: u64,
        generation: u64,
    },
    Complete {
        task: u64,
        generation: u64,
    },
    /// `command` is the number of the command that asked: see [`Evidence::commands`].
    Allow {
        command: u64,
    },
    Deny {
        command: u64,
    },
}

/// The answer that the client received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged: done and stored.
    Done(Answer),
    /// Refused with this code: nothing changed.
    Refused(String),
    /// No answer before the torture ended: either may be true.
    Unknown,
}

/// The parts of an answer that the checkers compare; empty where a call's answer has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The number of the message or task.
    pub id: u64,
    pub generation: u64,
    pub recipients: Vec<String>,
}

/// A fault, while it lasted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub began: Duration,
    /// When it was healed; of a kill, when the process was dead.
    pub ended: Duration,
    /// The processes it hit.
    pub pids: Vec<u32>,
}

/// The faults that the nemesis makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    KillSupervisor,
    /// One process; of hosted members, the process that runs them all.
    KillWorker,
    /// A process that a worker started: a shell, git, the sandbox.
    KillCommand,
    KillTmux,
    /// Everything at once: the next command starts the supervisor.
    KillEverything,
    StopSupervisor,
    StopWorker,
    RestartSupervisor,
    RemoveSocket,
    FullDisk,
    FailedSync,
    ClockJump,
    SlowReaders,
    Flood,
}

/// A successful answer to the probe, with the supervisor that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    pub began: Duration,
    pub ended: Duration,
    pub supervisor: u32,
}

/// A time in which the torture itself was not scheduled: the machine was busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    pub at: Duration,
    pub lasted: Duration,
}

/// A task as the board shows it in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub id: u64,
    pub key: String,
    pub state: String,
    pub rerun: bool,
}

/// A line that a running task left in its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    Began { member: String, process: String },
    Ended { process: String },
}

/// Everything that the checkers read.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    pub operations: Vec<Operation>,
    pub faults: Vec<Fault>,
    pub probes: Vec<Probe>,
    pub stalls: Vec<Stall>,
    /// All events, read at the end from the first one.
    pub journal: Vec<Event>,
    /// Events as a subscriber received them during the faults.
    pub published: Vec<Event>,
    pub tasks: Vec<Task>,
    /// By the task's key, in the order of the log.
    pub runs: BTreeMap<String, Vec<Mark>>,
    /// How often each numbered command ran that needs the user's permission.
    pub commands: BTreeMap<u64, u64>,
    /// Work that was still unfinished 90 s after the last fault.
    pub unfinished: Vec<String>,
    /// The most memory that a supervisor took, in bytes, and its most descriptors.
    pub memory: u64,
    pub descriptors: u64,
    /// Processes and files that remained after `down`.
    pub left: Vec<String>,
    /// Processes outside the team that ended.
    pub harmed: Vec<String>,
    /// What the product's processes wrote about a panic.
    pub panics: Vec<String>,
}

impl Evidence {
    /// The faults of these kinds that touch a span of time.
    pub fn faults_in(
        &self,
        kinds: &[FaultKind],
        from: Duration,
        to: Duration,
    ) -> impl Iterator<Item = &Fault> {
        self.faults
            .iter()
            .filter(move |fault| kinds.contains(&fault.kind))
            .filter(move |fault| fault.began <= to && fault.ended >= from)
    }

    /// How long the machine did not schedule us within a span.
    pub fn stalled_in(&self, from: Duration, to: Duration) -> Duration {
        let within = |stall: &&Stall| stall.at + stall.lasted >= from && stall.at <= to;
        self.stalls
            .iter()
            .filter(within)
            .map(|stall| stall.lasted)
            .sum()
    }
}

/// Collects evidence from the tasks of a torture; clones share it.
#[derive(Debug, Clone)]
pub struct Recorder {
    start: Instant,
    evidence: Arc<Mutex<Evidence>>,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            evidence: Arc::default(),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn add(&self, add: impl FnOnce(&mut Evidence)) {
        let mut evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut evidence);
    }

    pub(crate) fn evidence(&self) -> Evidence {
        let evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        evidence.clone()
    }
}

/// Random numbers that a seed repeats (xorshift).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// `stream` separates the numbers of several users of one seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mixed = seed ^ (stream + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut dice = Self(mixed | 1);
        for _ in 0..8 {
            dice.below(2);
        }
        dice
    }

    /// A number from 0 to below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    pub(crate) fn between(&mut self, low_ms: u64, high_ms: u64) -> Duration {
        Duration::from_millis(low_ms + self.below(high_ms - low_ms))
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let length = u64::try_from(from.len())
            .ok()
            .filter(|length| *length > 0)?;
        from.get(usize::try_from(self.below(length)).ok()?)
    }
}
