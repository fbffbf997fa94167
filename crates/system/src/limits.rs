//! What one program, and each process that it starts, may use of the machine. Called by [`crate::sandbox`].
//!
//! The kernel counts processes per user, not per program: the limit is what the user runs now and so many more. Root has
//! no such limit. Memory and the sum over processes are not limited here: who starts the program watches them.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::os;

/// `None`: as much as this process may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Open files of one process.
    pub open_files: Option<u64>,
    /// Bytes of one file.
    pub file_bytes: Option<u64>,
    /// Bytes in each of a profile's `scratch` directories, where the sandbox makes them.
    pub scratch_bytes: Option<u64>,
}

/// Bytes of memory that this machine has.
pub fn memory_bytes() -> Option<u64> {
    os::memory_bytes()
}

/// The limits as numbers for the kernel.
#[derive(Clone, Debug, Default)]
pub(crate) struct KernelLimits(Vec<(Resource, Rlimit)>);

impl Limits {
    /// Reads the process table.
    pub(crate) fn for_kernel(&self) -> io::Result<KernelLimits> {
        let mut limits = Vec::new();
        if let Some(processes) = self.processes.filter(|_| !nix::unistd::geteuid().is_root()) {
            let processes = processes.saturating_add(os::tasks_of_user()?);
            limits.push((Resource::Nproc, processes));
        }
        limits.extend(self.open_files.map(|files| (Resource::Nofile, files)));
        limits.extend(self.file_bytes.map(|bytes| (Resource::Fsize, bytes)));
        let lowered = limits.into_iter().map(|(resource, limit)| {
            let now = getrlimit(resource).maximum;
            let limit = Some(now.map_or(limit, |now| now.min(limit)));
            let limit = Rlimit {
                current: limit,
                maximum: limit,
            };
            (resource, limit)
        });
        Ok(KernelLimits(lowered.collect()))
    }
}

impl KernelLimits {
    /// Holds this process to them, and what it becomes. Makes system calls only.
    pub(crate) fn apply(&self) -> io::Result<()> {
        for (resource, limit) in &self.0 {
            setrlimit(*resource, *limit)?;
        }
        Ok(())
    }
}
