//! A control group for the commands of one launch, where the user's system delegated a part of the tree to us: the
//! kernel then bounds them together. Called by the worker, by [`crate::sandbox`] for each command, and by the supervisor
//! to remove the group of a killed worker.
//!
//! ```text
//! unit (delegated: the attribute user.delegate is 1)
//!  ├── subgroup: supervisor, workers
//!  └── agent-team-LAUNCH: memory.max, pids.max, cpu.weight ── commands
//! ```
//! Linux (control groups, version 2) bounds a group only below one without processes of its own, so ours is made beside
//! the subgroup that we run in. systemd makes that with `Delegate=yes` and `DelegateSubgroup=NAME`. Nothing else is
//! touched: processes that are not ours are never moved.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What the commands of a member may use together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    pub memory_bytes: u64,
    pub processes: u64,
    /// From 1 to 10,000; what other groups have is 100.
    pub cpu_weight: u64,
}

/// How often the kernel kept the group to a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupEvents {
    pub memory: u64,
    pub processes: u64,
}

/// The group of one launch. Removed when dropped, unless a process is still in it.
#[derive(Debug)]
pub struct Group {
    directory: PathBuf,
}

/// The directory of the tree that was delegated to us, if one was.
pub fn delegated() -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let root = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    })?;
    let unit = root.join(own).parent()?.to_owned();
    is_delegated(&unit).then_some(unit)
}

fn is_delegated(unit: &Path) -> bool {
    let mut value = [0; 1];
    let read = rustix::fs::getxattr(unit, "user.delegate", &mut value);
    read == Ok(1) && value == *b"1"
}

impl Group {
    /// Makes the group below a delegated directory.
    ///
    /// # Errors
    /// Also when the memory or the number of processes of a group cannot be bounded there.
    pub fn make(unit: &Path, name: &str, limits: GroupLimits) -> io::Result<Group> {
        for controller in ["+memory", "+pids", "+cpu"] {
            // A controller that is not there shows when the limit is set.
            let _missing = write(&unit.join("cgroup.subtree_control"), controller);
        }
        let directory = directory(unit, name);
        fs::create_dir(&directory)?;
        let group = Group { directory };
        group.set("memory.max", limits.memory_bytes)?;
        group.set("pids.max", limits.processes)?;
        if let Err(error) = group.set("cpu.weight", limits.cpu_weight) {
            tracing::debug!(%error, "the share of processor time is not bounded");
        }
        Ok(group)
    }

    fn set(&self, file: &str, value: u64) -> io::Result<()> {
        write(&self.directory.join(file), &value.to_string())
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn events(&self) -> GroupEvents {
        let count = |file: &str, key: &str| {
            let text = fs::read_to_string(self.directory.join(file)).unwrap_or_default();
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            let value = lines.find_map(|(name, value)| (name == key).then_some(value));
            value.and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        GroupEvents {
            memory: count("memory.events", "oom_kill"),
            processes: count("pids.events", "max"),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.directory) {
            tracing::debug!(directory = %self.directory.display(), %error, "a control group stays");
        }
    }
}

/// Removes the group that a killed worker left behind below a delegated directory. Its processes must have ended.
pub fn remove(unit: &Path, name: &str) {
    let directory = directory(unit, name);
    if let Err(error) = fs::remove_dir(&directory)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(directory = %directory.display(), %error, "cannot remove a control group");
    }
}

fn directory(unit: &Path, name: &str) -> PathBuf {
    unit.join(format!("agent-team-{name}"))
}

/// A process that writes `0` to it becomes one of the group, with all that it starts.
pub(crate) fn entrance(group: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .open(group.join("cgroup.procs"))
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(file)?;
    file.write_all(text.as_bytes())
}
