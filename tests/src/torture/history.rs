//! The history of a torture as observed by its clients and by the nemesis: plain data for the checkers.
//!
//! Clients, the nemesis and the meters record through [`Recorder`] while they run. The rest of [`Evidence`] is read
//! from the product's public interfaces when the faults have stopped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Event;

/// One operation of a client: a call that is repeated with its key until it is answered.
#[derive(Debug, Clone)]
pub struct Operation {
    pub client: String,
    /// The time since the torture began.
    pub began: Duration,
    pub ended: Duration,
    pub call: Call,
    pub outcome: Outcome,
}

/// The call of an operation.
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
    /// `command` is the number of the command to allow: see [`Evidence::commands`]. [`Answer::id`] is the number of its
    /// request.
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
    /// The call was acknowledged: its change is stored.
    Done(Answer),
    /// The call was refused with this code: nothing changed, unless the code is `storage_failed`.
    Refused(String),
    /// The call has no answer before the end of the torture: it may have been carried out or not.
    Unknown,
}

/// The parts of an answer that the checkers compare. A part that the answer of a call does not have is 0 or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The number of the message, task or request.
    pub id: u64,
    pub generation: u64,
    pub recipients: Vec<String>,
}

/// A fault with its time span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub began: Duration,
    /// When the fault was healed. For a kill: when the process was dead.
    pub ended: Duration,
    /// The processes that the fault ended, if known.
    pub pids: Vec<u32>,
}

/// The kinds of faults. Only the simulation injects `CutConnections`; the nemesis injects all other kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    KillSupervisor,
    /// Kills several supervisors, each as soon as it runs.
    KillSupervisors,
    /// Kills one worker. Hosted members share one process.
    KillWorker,
    /// Kills a process that a worker started: a shell, git, the sandbox.
    KillCommand,
    KillGit,
    /// Kills the tmux server, then reopens the panes.
    KillTmux,
    /// Kills every process; the next command starts a supervisor.
    KillEverything,
    /// Changes the boot id, kills every process, removes the runtime directory, then runs `up`.
    Reboot,
    /// Runs `kill MEMBER`, then `restart MEMBER`.
    KillMember,
    StopSupervisor,
    StopWorker,
    StopTmux,
    RestartSupervisor,
    RemoveSocket,
    /// Removes the runtime directory, then runs `up`, which stores the environment again.
    RemoveRuntimeDirectory,
    /// Removes the files of the state directory, such as logs and records of processes, except the teams' databases,
    /// their locks and disk reserves.
    RemoveRecords,
    FullDisk,
    FailedSync,
    FailedRead,
    CutConnections,
    ClockJump,
    SlowReaders,
    Flood,
}

impl FaultKind {
    /// Whether the fault ends the supervisor, so that another one starts.
    pub fn ends_supervisor(self) -> bool {
        matches!(
            self,
            Self::KillSupervisor
                | Self::KillSupervisors
                | Self::KillEverything
                | Self::Reboot
                | Self::RestartSupervisor
                | Self::FailedSync
        )
    }

    /// Whether the fault may delay calls or the start of a successor.
    pub fn delays(self) -> bool {
        match self {
            Self::KillCommand
            | Self::KillGit
            | Self::KillTmux
            | Self::StopTmux
            | Self::ClockJump
            | Self::SlowReaders
            | Self::Flood => false,
            Self::KillSupervisor
            | Self::KillSupervisors
            | Self::KillWorker
            | Self::KillEverything
            | Self::Reboot
            | Self::KillMember
            | Self::StopSupervisor
            | Self::StopWorker
            | Self::RestartSupervisor
            | Self::RemoveSocket
            | Self::RemoveRuntimeDirectory
            | Self::RemoveRecords
            | Self::FullDisk
            | Self::FailedSync
            | Self::FailedRead
            | Self::CutConnections => true,
        }
    }
}

/// A call of the probe to a supervisor, up to the answer or the timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    pub began: Duration,
    pub ended: Duration,
    pub supervisor: u32,
    /// The longest time that a member has been in its state, according to the answer.
    pub longest: Duration,
}

/// A request that was missing from a list, although an earlier list contained it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unlisted {
    pub request: u64,
    pub at: Duration,
}

/// A member as the team shows it at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAtEnd {
    pub member: String,
    /// The id of the member's pane.
    pub pane: Option<String>,
    pub runs: bool,
}

/// A pane of the team's own tmux server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pane {
    pub id: String,
    pub member: String,
    /// Whether its process is alive.
    pub lives: bool,
}

/// A time in which the torture itself was not scheduled: the machine was busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    pub at: Duration,
    pub lasted: Duration,
}

/// A task as the board shows it at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub id: u64,
    pub key: String,
    pub state: String,
    pub rerun: bool,
    /// Whether the task has a `run` line.
    pub runs: bool,
}

/// A line that the command of a task wrote when it began or ended.
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
    /// Why the journal, the board, the members or the panes could not be read at the end.
    pub unread: Vec<String>,
    pub unlisted: Vec<Unlisted>,
    /// Members and panes at the end; `None` if members have no panes.
    pub panes: Option<(Vec<MemberAtEnd>, Vec<Pane>)>,
    /// The marks of each task by its key, in the order in which they were written.
    pub runs: BTreeMap<String, Vec<Mark>>,
    /// How often each numbered command ran. Each run needs the user's permission.
    pub commands: BTreeMap<u64, u64>,
    /// Work that was unfinished at the end of the calm phase, verbs that failed, and, in the simulation, violations
    /// that a worker observed.
    pub unfinished: Vec<String>,
    /// Maximum memory of a supervisor, in bytes.
    pub memory: u64,
    /// Maximum number of open descriptors of a supervisor.
    pub descriptors: u64,
    /// Processes and files that remained after `down`.
    pub left: Vec<String>,
    /// Processes and claims that a killed member kept.
    pub kept: Vec<String>,
    /// Processes outside the team that ended.
    pub harmed: Vec<String>,
    /// Panic messages of the product's processes.
    pub panics: Vec<String>,
}

impl Evidence {
    /// The faults of some kinds that touch a span of time.
    pub fn faults_in(
        &self,
        of_kind: impl Fn(FaultKind) -> bool,
        from: Duration,
        to: Duration,
    ) -> impl Iterator<Item = &Fault> {
        let faults = self.faults.iter();
        faults
            .filter(move |fault| of_kind(fault.kind))
            .filter(move |fault| fault.began <= to && fault.ended >= from)
    }

    /// The total length of the stalls that touch a span of time.
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

    /// The total length of the stalls that ended after this time.
    pub(crate) fn stalled_since(&self, since: Duration) -> Duration {
        let evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        evidence.stalled_in(since, self.now())
    }

    /// Whether the newest probe ended after `since`, at a supervisor that is not in `not_by`.
    pub(crate) fn is_answered_since(&self, since: Duration, not_by: &[u32]) -> bool {
        let evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = evidence.probes.last();
        newest.is_some_and(|probe| probe.ended > since && !not_by.contains(&probe.supervisor))
    }

    pub(crate) fn evidence(&self) -> Evidence {
        let evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        evidence.clone()
    }
}

/// Reproducible random numbers from a seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// `stream` selects an independent sequence for the same seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        // Mix the stream, so that the streams of neighbouring seeds do not overlap.
        Self(mix(mix(seed) ^ stream.wrapping_mul(STEP)))
    }

    /// Splits off another independent sequence.
    pub(crate) fn split(&mut self) -> Self {
        let seed = self.below(1 << 53);
        Self::new(seed, 0)
    }

    /// A random number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        (mix(self.0) >> 11) % limit
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

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_seed_repeats_its_own_numbers() {
        let numbers = |seed, stream| {
            let mut dice = Dice::new(seed, stream);
            (0..8).map(|_| dice.below(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(6, 1), numbers(6, 1));
        for (seed, stream) in [(7, 1), (6, 2), (2, 6), (1, 6)] {
            assert_ne!(numbers(6, 1), numbers(seed, stream), "{seed} {stream}");
        }
    }
}
