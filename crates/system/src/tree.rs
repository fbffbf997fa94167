//! Everything that one launch started, found and ended. Called by the supervisor (`kill`, `down`,
//! before a successor starts) and by a worker (before it exits).
//!
//! A process can leave its parent, its group and its session, so three marks are followed at once:
//! descent from the worker (who is a subreaper, so orphans stay below it while it lives), the
//! sessions that were registered, and the launch's marker in the environment, which is all that is
//! left once the worker was killed. What clears its environment, calls `setsid` and outlives the
//! worker escapes; only a PID namespace would hold it.
//!
//! Never touched: this process and what descends from the tree only through it, pid 1, other users'
//! processes that merely carry the marker, and below the worker whatever carries another launch's
//! marker or [`NO_LAUNCH`]: a supervisor that a task's command happened to start becomes a child of
//! that worker, and its tmux server and workers with it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::os;
use crate::process::{ExitWatch, ProcessId, Signal};

pub use agent_team_protocol::launch::LAUNCH_MARKER;

/// The marker of what belongs to no launch: the supervisor, and what it starts for all of them.
pub const NO_LAUNCH: &str = "none";

/// Looks in a row that must find nothing. A look is not a snapshot: a process that forks and exits
/// while the table is read, or is between two programs, can be missed by one of them.
const EMPTY_LOOKS: u32 = 2;

/// Rounds of [`Tree::signal_all`] after which whatever forks faster than we look is left alone.
const SIGNAL_ROUNDS: u32 = 16;

/// The processes of one launch, by the marks it left.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The worker, if it is known.
    pub root: Option<ProcessId>,
    /// Leaders of the sessions it registered. A leader may be gone while its session lives on.
    pub sessions: Vec<ProcessId>,
    /// Value of [`LAUNCH_MARKER`]; empty matches nothing.
    pub marker: String,
}

/// Why a tree is not known to be gone.
#[derive(Debug, thiserror::Error)]
pub enum TreeSurvived {
    #[error("{} of its processes did not end in time: {}", survivors.len(), pids(survivors))]
    Alive {
        survivors: Vec<ProcessId>,
        ended: Vec<ProcessId>,
    },
    #[error("its processes cannot be listed")]
    Unknown(#[from] io::Error),
}

/// Whose marker a process carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marking {
    Ours,
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
    /// The living processes of this tree, the root included. Reads the process table; zombies do
    /// not count.
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
        // Before descent: neither what we nor what pid 1 started is of the tree because of that.
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

    /// What the environments of our own user's processes say; those that say nothing are left out.
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
                let ours = marker == self.marker.as_bytes();
                markings.insert(stat.pid, if ours { Marking::Ours } else { Marking::Other });
            }
        }
        Ok(markings)
    }

    /// Signals each process of the tree, also those that it forks meanwhile. Returns to how many
    /// the signal was sent; those that we may not signal are left out.
    pub fn signal_all(&self, signal: Signal) -> io::Result<usize> {
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

    /// Kills the tree and returns once nothing of it is left, with what was there. Must be called
    /// within a tokio runtime.
    pub async fn end(&self, deadline: Duration) -> Result<Vec<ProcessId>, TreeSurvived> {
        let mut ended: Vec<ProcessId> = Vec::new();
        let survivors = self
            .watch_until_gone(deadline, |process| {
                // A failed signal shows in that the process survives.
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

    /// Waits for the tree to end by itself. False when `deadline` passes first, or when its
    /// processes cannot be listed.
    pub async fn gone(&self, deadline: Duration) -> bool {
        matches!(self.watch_until_gone(deadline, |_| {}).await, Ok(left) if left.is_empty())
    }

    /// Looks, hands each survivor to `meet`, waits for their ends, looks again. Returns those that
    /// were left at the deadline.
    async fn watch_until_gone(
        &self,
        deadline: Duration,
        mut meet: impl FnMut(ProcessId),
    ) -> io::Result<Vec<ProcessId>> {
        let deadline = Instant::now() + deadline;
        let mut empty_looks = 0;
        while empty_looks < EMPTY_LOOKS {
            let survivors = self.look().await?;
            if survivors.is_empty() {
                empty_looks += 1;
                continue;
            }
            empty_looks = 0;
            survivors.iter().copied().for_each(&mut meet);
            for &process in &survivors {
                let Some(mut watch) = ExitWatch::open(process)? else {
                    continue;
                };
                match timeout_at(deadline, watch.exited()).await {
                    Ok(result) => result?,
                    Err(_elapsed) => return self.look().await,
                }
            }
        }
        Ok(Vec::new())
    }

    /// [`Tree::survivors`] off the runtime's thread: reading a long process table takes
    /// milliseconds.
    async fn look(&self) -> io::Result<Vec<ProcessId>> {
        let tree = self.clone();
        tokio::task::spawn_blocking(move || tree.survivors())
            .await
            .map_err(io::Error::other)?
    }
}

/// A session's number is its leader's pid, which stays taken while the session has a member, and
/// can name a stranger's session afterwards. So the leader, if it is there, must be the one that
/// was registered, and nobody in its session is older.
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
    let mut open: Vec<u32> = members.iter().copied().collect();
    while let Some(pid) = open.pop() {
        for &child in children.get(&pid).map_or(&[][..], Vec::as_slice) {
            let foreign = child == own_pid || markings.get(&child) == Some(&Marking::Other);
            if !foreign && members.insert(child) {
                open.push(child);
            }
        }
    }
}
