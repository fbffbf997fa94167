//! Enforces a profile on Linux. Called by [`crate::sandbox`].
//!
//! The parent allocates memory and opens files before the fork. Between fork and exec the child makes only system
//! calls; the restrictions that they set stay in force after exec.

#[path = "sandbox/bubblewrap.rs"]
mod bubblewrap;
#[path = "sandbox/landlock.rs"]
mod landlock;
#[path = "sandbox/syscalls.rs"]
mod syscalls;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;

use nix::libc;
use rustix::fs::MemfdFlags;
use rustix::io::FdFlags;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::cgroup;
use crate::sandbox::Profile;
use crate::spawn::{ProgramSpec, before_exec};

const NO_CAPABILITIES: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

/// A mechanism that enforces a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sandbox {
    Bubblewrap {
        program: PathBuf,
        /// Whether this bubblewrap supports `--size` for directories in memory (version 0.7 and later).
        sizes: bool,
    },
    Landlock,
}

impl Sandbox {
    /// The mechanisms to try, best first. bubblewrap is listed with and without `--size`: only a trial shows whether
    /// the installed version supports the option.
    pub(crate) fn all(path: &OsStr) -> Vec<Sandbox> {
        let bubblewrap = std::env::split_paths(path)
            .map(|directory| directory.join("bwrap"))
            .find(|program| program.is_absolute() && program.is_file());
        let bubblewrap = bubblewrap.into_iter().flat_map(|program| {
            [true, false].map(|sizes| {
                let program = program.clone();
                Sandbox::Bubblewrap { program, sizes }
            })
        });
        bubblewrap.chain([Sandbox::Landlock]).collect()
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Sandbox::Bubblewrap { .. } => "bubblewrap and seccomp",
            Sandbox::Landlock => "Landlock and seccomp",
        }
    }

    /// Whether a wrapper process runs between this process and the sandboxed program.
    pub fn has_wrapper(&self) -> bool {
        matches!(self, Sandbox::Bubblewrap { .. })
    }

    /// Whether [`Profile::protected`] is enforced.
    pub fn protects(&self) -> bool {
        matches!(self, Sandbox::Bubblewrap { .. })
    }

    /// Whether a path must exist before it can be protected.
    pub(crate) fn needs_placeholders(&self) -> bool {
        matches!(self, Sandbox::Bubblewrap { .. })
    }

    /// Checks that this sandbox can hide the hidden paths of `profile`.
    ///
    /// # Errors
    /// Landlock cannot hide a path within a writable path.
    pub fn supports(&self, profile: &Profile) -> io::Result<()> {
        match self {
            Sandbox::Bubblewrap { .. } => Ok(()),
            Sandbox::Landlock => landlock::supports(profile),
        }
    }

    /// The command that runs a program under `profile`. `lock` stays open as long as a process runs in the sandbox.
    pub(crate) fn command(
        &self,
        profile: &Profile,
        spec: &ProgramSpec,
        lock: Option<OwnedFd>,
    ) -> io::Result<Command> {
        let own_network = matches!(self, Sandbox::Bubblewrap { .. });
        let outside = syscalls::outside(profile.network, own_network)?;
        let without_clone3 = syscalls::without_clone3()?;
        let namespaces = syscalls::namespaces()?;
        let limits = profile.limits.for_kernel()?;
        let group = profile.group.as_deref().map(cgroup::entrance).transpose()?;
        match self {
            Sandbox::Bubblewrap { program, sizes } => {
                let filter = in_memory(&syscalls::bytes(&namespaces))?;
                let mut replaced = Vec::new();
                for (path, content) in &profile.replaced {
                    replaced.push((path.as_path(), in_memory(content)?));
                }
                let wrapped = ProgramSpec {
                    program: program.clone(),
                    args: bubblewrap::arguments(
                        profile,
                        *sizes,
                        spec,
                        filter.as_raw_fd(),
                        lock.as_ref().map(AsRawFd::as_raw_fd),
                        &replaced,
                    ),
                    env: spec.env.clone(),
                    cwd: "/".into(),
                };
                let mut command = wrapped.command();
                let replaced = replaced.into_iter().map(|(_, content)| content);
                let inherited: Vec<OwnedFd> =
                    [filter].into_iter().chain(lock).chain(replaced).collect();
                before_exec(&mut command, move || {
                    enter(group.as_ref())?;
                    for descriptor in &inherited {
                        rustix::io::fcntl_setfd(descriptor.as_fd(), FdFlags::empty())?;
                    }
                    limits.apply()?;
                    syscalls::apply(&outside)?;
                    syscalls::apply(&without_clone3)
                });
                Ok(command)
            }
            Sandbox::Landlock => {
                let rules = landlock::rules(profile)?;
                let mut command = spec.command();
                before_exec(&mut command, move || {
                    enter(group.as_ref())?;
                    // Set no_new_privs before the calls below: without it, the kernel refuses landlock_restrict_self
                    // and seccomp filters of unprivileged processes.
                    rustix::thread::set_no_new_privs(true)?;
                    // Drop capabilities: with them root could read the memory of other processes.
                    rustix::thread::set_capabilities(None, NO_CAPABILITIES)?;
                    #[expect(
                        unsafe_code,
                        reason = "landlock consumes the rule set, which this closure only borrows"
                    )]
                    // SAFETY: `rules` is an open descriptor, and the call takes no pointers.
                    let restricted = unsafe {
                        libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0)
                    };
                    if restricted != 0 {
                        return Err(io::Error::last_os_error());
                    }
                    limits.apply()?;
                    syscalls::apply(&outside)?;
                    syscalls::apply(&namespaces)?;
                    syscalls::apply(&without_clone3)
                });
                Ok(command)
            }
        }
    }
}

/// Moves this process to a control group.
fn enter(group: Option<&File>) -> io::Result<()> {
    if let Some(group) = group {
        rustix::io::write(group, b"0")?;
    }
    Ok(())
}

/// An in-memory file with these bytes, positioned at its beginning. Close-on-exec until the child clears the flag.
fn in_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("agent-team", MemfdFlags::CLOEXEC)?;
    let mut written = 0;
    while written < bytes.len() {
        written += rustix::io::pwrite(&file, &bytes[written..], written as u64)?;
    }
    Ok(file)
}
