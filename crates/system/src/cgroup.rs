//! A control group for the commands of one launch: the kernel limits them together. Control groups are available only
//! if the system delegates a part of the cgroup tree to this user. Called by the worker, by [`crate::sandbox`] for
//! each command, and by the supervisor to remove the group of a killed worker.
//!
//! ```text
//! unit (delegated: the attribute user.delegate is 1)
//!  ├── subgroup: supervisor, workers
//!  └── agent-team-LAUNCH: memory.max, pids.max, cpu.weight ── commands
//! ```
//! In cgroup version 2 a group that distributes limits to its children must not contain processes itself ("no internal
//! processes", cgroups(7)). So the launch's group is created beside the subgroup that this process runs in, which
//! systemd creates with `Delegate=yes` and `DelegateSubgroup=NAME`. A command moves itself into the group before its
//! exec; no other process is moved.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Limits of all commands of a member together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    pub memory_bytes: u64,
    pub processes: u64,
    /// From 1 to 10,000; the kernel's default is 100.
    pub cpu_weight: u64,
}

/// How often the kernel enforced a limit of the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupEvents {
    /// Processes that the kernel killed because of the memory limit.
    pub memory: u64,
    /// Forks that the kernel refused because of the process limit.
    pub processes: u64,
}

/// The group of one launch. Dropping the value removes the group, unless it still contains a process.
#[derive(Debug)]
pub struct Group {
    directory: PathBuf,
}

/// The cgroup directory that is delegated to this user, if there is one.
pub fn delegated() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own_group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let root = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (mount_point, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(mount_point))
    })?;
    let unit = root.join(own_group).parent()?.to_owned();
    is_delegated(&unit).then_some(unit)
}

fn is_delegated(unit: &Path) -> bool {
    let mut value = [0; 1];
    let read = rustix::fs::getxattr(unit, "user.delegate", &mut value);
    read == Ok(1) && value == *b"1"
}

impl Group {
    /// Creates the group below a delegated directory.
    ///
    /// # Errors
    /// The group exists or cannot be created, or its limits of memory and processes cannot be set. A CPU weight that
    /// cannot be set is only logged.
    pub fn make(unit: &Path, name: &str, limits: GroupLimits) -> io::Result<Group> {
        for controller in ["+memory", "+pids", "+cpu"] {
            // If a controller is missing, setting its limit fails below.
            let _missing = write(&unit.join("cgroup.subtree_control"), controller);
        }
        let directory = directory(unit, name);
        fs::create_dir(&directory)?;
        let group = Group { directory };
        group.set("memory.max", limits.memory_bytes)?;
        group.set("pids.max", limits.processes)?;
        if let Err(error) = group.set("cpu.weight", limits.cpu_weight) {
            tracing::debug!(%error, "cannot set cpu.weight of the control group");
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
        // The kernel refuses with EBUSY while the group contains a process; zombies do not count (cgroup-v2.rst of the
        // kernel). A process that survives the worker therefore keeps the group, and [`remove`] is called after the
        // launch's processes have ended.
        if let Err(error) = fs::remove_dir(&self.directory) {
            tracing::debug!(directory = %self.directory.display(), %error, "cannot remove the control group");
        }
    }
}

/// Removes the group of a killed worker below a delegated directory. All processes of the group must have exited.
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

/// A process that writes `0` to this file joins the group, with all processes that it starts afterwards.
pub(crate) fn entrance(group: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .open(group.join("cgroup.procs"))
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(file)?;
    file.write_all(text.as_bytes())
}
