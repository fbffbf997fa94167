//! Resource limits (setrlimit(2)) of a program and of each process that it starts. Called by [`crate::sandbox`], and by
//! the tools, which choose the limits.
//!
//! The kernel counts processes per user, not per program, so the process limit is added to the number that the user
//! runs now. Root has no such limit. Memory and totals over several processes are not limited here; the caller monitors
//! them.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::os;

/// Limits of a program. `None`: the limit of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Open files of one process.
    pub open_files: Option<u64>,
    /// Bytes of one file.
    pub file_bytes: Option<u64>,
    /// Bytes in each of a profile's `scratch` directories, if the sandbox provides them.
    pub scratch_bytes: Option<u64>,
}

/// Memory of this machine, in bytes.
pub fn memory_bytes() -> Option<u64> {
    os::memory_bytes()
}

/// The limits as arguments of setrlimit(2).
#[derive(Clone, Debug, Default)]
pub(crate) struct KernelLimits(Vec<(Resource, Rlimit)>);

impl Limits {
    /// Computes the kernel's limits. Reads the process table if processes are limited.
    pub(crate) fn for_kernel(&self) -> io::Result<KernelLimits> {
        let mut limits = Vec::new();
        if let Some(processes) = self.processes.filter(|_| !nix::unistd::geteuid().is_root()) {
            let processes = processes.saturating_add(os::threads_of_user()?);
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
    /// Applies the limits to this process; they survive exec. Makes only system calls, so it may run between fork and
    /// exec.
    pub(crate) fn apply(&self) -> io::Result<()> {
        for (resource, limit) in &self.0 {
            setrlimit(*resource, *limit)?;
        }
        Ok(())
    }
}
