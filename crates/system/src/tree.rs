//! Finds and kills all processes of a launch, or of one program of a launch. Called by the supervisor (`kill`, `down`,
//! before a successor starts), by a worker (before it exits), by the command engine and by the tools that run programs.
//!
//! A process can leave its parent, its process group and its session, so three criteria are combined:
//! - descent from the worker, which is a subreaper, so that orphans stay below it while it runs;
//! - the sessions that the launch registered;
//! - the launch's marker in the environment, the only criterion left once the worker was killed.
//!
//! A process that clears its environment, calls `setsid` and outlives the worker escapes; only a PID namespace would
//! prevent that.
//!
//! These processes do not belong to the tree: this process and the processes that descend from the tree only through
//! it, pid 1, and other users' processes with the marker. Below the worker, processes with another launch's marker or
//! [`NO_LAUNCH`] do not belong to the tree either. This protects a supervisor that the command of a task started: the
//! supervisor, its tmux server and its workers become descendants of that worker.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::os;
use crate::process::{ExitWatch, ProcessId, Signal};

pub use agent_team_protocol::launch::LAUNCH_MARKER;

/// The marker of processes that belong to no launch: the supervisor, and the processes that it starts for all launches.
pub const NO_LAUNCH: &str = "none";

/// Consecutive scans of the process table that must find nothing. A scan is not a snapshot: it can miss a process that
/// forks and exits while the table is read, or whose environment reads as empty because the process is in the middle of
/// an exec.
const EMPTY_SCANS: u32 = 2;

/// Maximum number of rounds of [`Tree::signal_all`], in case the tree forks faster than the process table is read.
const SIGNAL_ROUNDS: u32 = 16;

/// The criteria that identify the processes of one launch.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The worker, if it is known.
    pub root: Option<ProcessId>,
    /// Leaders of the registered sessions. A session can outlive its leader.
    pub sessions: Vec<ProcessId>,
    /// Value of [`LAUNCH_MARKER`]; empty matches nothing.
    pub marker: String,
}

/// Why a tree could not be killed completely.
#[derive(Debug, thiserror::Error)]
pub enum TreeSurvived {
    #[error("{} processes did not exit in time: {}", survivors.len(), pids(survivors))]
    Alive {
        survivors: Vec<ProcessId>,
        ended: Vec<ProcessId>,
    },
    #[error("cannot list the processes")]
    Unknown(#[from] io::Error),
}

/// The marker that a process carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marking {
    /// The marker of this launch.
    Ours,
    /// The marker of another launch, or [`NO_LAUNCH`].
    Other,
}

fn pids(processes: &[ProcessId]) -> String {
    let pids: Vec<String> = processes
        .iter()
        .map(|process| process.pid.to_string())
        .collect();
    pids.join(", ")
}

impl Tree {
    /// The running processes of this tree, including the root but no zombies. Reads the process table.
    pub fn survivors(&self) -> io::Result<Vec<ProcessId>> {
        let all = os::processes()?;
        let own_pid = std::process::id();
        let markings = self.markings(&all)?;
        let mut members: HashSet<u32> = HashSet::new();
        for &leader in &self.sessions {
            members.extend(session_members(&all, leader));
        }
        members.extend(
            markings
                .iter()
                .filter(|(_, mark)| **mark == Marking::Ours)
                .map(|(&pid, _)| pid),
        );
        // Remove both before the descendants are added: otherwise every child of this process and of pid 1 would become
        // a part of the tree.
        members.remove(&own_pid);
        members.remove(&1);
        let root = all
            .iter()
            .find(|stat| Some(ProcessId::from(*stat)) == self.root);
        members.extend(root.map(|stat| stat.pid));
        add_descendants(&all, &markings, &mut members, own_pid);
        Ok(all
            .iter()
            .filter(|stat| members.contains(&stat.pid))
            .filter(|stat| !stat.zombie && stat.pid != own_pid && stat.pid != 1)
            .map(ProcessId::from)
            .collect())
    }

    /// The markers in the environments of this user's processes; processes without a marker are left out.
    fn markings(&self, all: &[os::Stat]) -> io::Result<HashMap<u32, Marking>> {
        let mut markings = HashMap::new();
        if self.marker.is_empty() {
            return Ok(markings);
        }
        let name = format!("{LAUNCH_MARKER}=");
        let own_user = nix::unistd::geteuid().as_raw();
        for stat in all {
            if stat.zombie || os::owner(stat.pid)? != Some(own_user) {
                continue;
            }
            let environment = os::environment(stat.pid)?.unwrap_or_default();
            let marker = environment
                .split(|&byte| byte == 0)
                .find_map(|variable| variable.strip_prefix(name.as_bytes()));
            if let Some(marker) = marker {
                let is_ours = marker == self.marker.as_bytes();
                let marking = if is_ours {
                    Marking::Ours
                } else {
                    Marking::Other
                };
                markings.insert(stat.pid, marking);
            }
        }
        Ok(markings)
    }

    /// Signals each process of the tree once, including those that are forked meanwhile. Returns the number of
    /// processes that were signalled; processes that this user may not signal are skipped.
    ///
    /// # Errors
    /// The processes cannot be listed.
    pub fn signal_all(&self, signal: Signal) -> io::Result<usize> {
        // A process that is forked after a scan is missing in that scan, and its parent may already have received the
        // signal. So the table is read until it contains only processes that were signalled. Each process gets the
        // signal once: a second SIGTERM makes some programs exit without cleaning up.
        let mut signalled: HashSet<ProcessId> = HashSet::new();
        let mut sent = 0;
        for _ in 0..SIGNAL_ROUNDS {
            let mut found_more = false;
            for process in self.survivors()? {
                if signalled.insert(process) {
                    found_more = true;
                    sent += usize::from(process.signal(signal).unwrap_or(false));
                }
            }
            if !found_more {
                break;
            }
        }
        Ok(sent)
    }

    /// Kills the tree and waits until no process of it is left. Returns the processes that it has signalled. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// Processes are left at the deadline, or the processes cannot be listed.
    pub async fn end(&self, deadline: Duration) -> Result<Vec<ProcessId>, TreeSurvived> {
        let mut ended: Vec<ProcessId> = Vec::new();
        let survivors = self
            .watch_until_gone(deadline, |process| {
                // If the signal fails, the process stays among the survivors.
                if !ended.contains(&process) {
                    ended.push(process);
                }
                let _sent = process.signal(Signal::SIGKILL);
            })
            .await?;
        if survivors.is_empty() {
            return Ok(ended);
        }
        ended.retain(|process| !survivors.contains(process));
        Err(TreeSurvived::Alive { survivors, ended })
    }

    /// Waits until no process of the tree is left. False when `deadline` passes first, or when the processes cannot be
    /// listed.
    pub async fn gone(&self, deadline: Duration) -> bool {
        matches!(self.watch_until_gone(deadline, |_| {}).await, Ok(left) if left.is_empty())
    }

    /// Scans, passes each survivor to `visit`, waits for their exits, and scans again. Returns the processes that are
    /// left at the deadline.
    async fn watch_until_gone(
        &self,
        deadline: Duration,
        mut visit: impl FnMut(ProcessId),
    ) -> io::Result<Vec<ProcessId>> {
        let deadline = Instant::now() + deadline;
        let mut empty_scans = 0;
        while empty_scans < EMPTY_SCANS {
            let survivors = self.scan().await?;
            if survivors.is_empty() {
                empty_scans += 1;
                continue;
            }
            empty_scans = 0;
            survivors.iter().copied().for_each(&mut visit);
            // Wait for each exit before the next scan: a scan while killed processes still exit would find them again
            // and keep a processor busy. Their children may have been forked meanwhile, so an exit alone proves nothing
            // about the tree.
            for &process in &survivors {
                let Some(mut watch) = ExitWatch::open(process)? else {
                    continue;
                };
                match timeout_at(deadline, watch.exited()).await {
                    Ok(result) => result?,
                    Err(_elapsed) => return self.scan().await,
                }
            }
        }
        Ok(Vec::new())
    }

    /// [`Tree::survivors`] on a blocking thread: reading a long process table takes milliseconds.
    async fn scan(&self) -> io::Result<Vec<ProcessId>> {
        let tree = self.clone();
        tokio::task::spawn_blocking(move || tree.survivors())
            .await
            .map_err(io::Error::other)?
    }
}

/// The processes of a registered session.
///
/// A session id is its leader's pid. The kernel does not reuse the pid while the session has processes, but afterwards
/// the id can name an unrelated session. So a running leader must have the registered start time, and processes that
/// are older than the registered leader do not count.
fn session_members(all: &[os::Stat], leader: ProcessId) -> impl Iterator<Item = u32> {
    let reused = all
        .iter()
        .any(|stat| stat.pid == leader.pid && stat.start_time != leader.start_time);
    all.iter()
        .filter(move |stat| {
            !reused && stat.session == leader.pid && stat.start_time >= leader.start_time
        })
        .map(|stat| stat.pid)
}

fn add_descendants(
    all: &[os::Stat],
    markings: &HashMap<u32, Marking>,
    members: &mut HashSet<u32>,
    own_pid: u32,
) {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for stat in all {
        children.entry(stat.parent).or_default().push(stat.pid);
    }
    let mut pending: Vec<u32> = members.iter().copied().collect();
    while let Some(pid) = pending.pop() {
        for &child in children.get(&pid).map_or(&[][..], Vec::as_slice) {
            let excluded = child == own_pid || markings.get(&child) == Some(&Marking::Other);
            if !excluded && members.insert(child) {
                pending.push(child);
            }
        }
    }
}
