//! How Linux holds a program to a profile. Called by [`crate::sandbox`].
//!
//! Everything that allocates or opens files is done before the fork; between fork and exec there are two or three
//! system calls, which restrict the child and what it becomes.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, Scope,
};
use nix::libc;
use rustix::fs::{Mode, OFlags};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::sandbox::{Network, Profile};
use crate::spawn::{ProgramSpec, before_exec};

/// The newest rights that are asked for: 5 has devices, 6 signals and abstract sockets. An older kernel gives what it has.
const LANDLOCK: ABI = ABI::V6;

/// Without these Landlock does not keep what it is asked to: renaming between directories, and truncating.
const LANDLOCK_NEEDED: ABI = ABI::V3;

/// The devices that may be used: the others are disks, and terminals that somebody types into.
const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// Calls that look into other processes, change the kernel, or go around the filter.
const REFUSED: [libc::c_long; 21] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_open_by_handle_at,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_acct,
];

const NO_CAPABILITIES: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

/// Calls of the x32 interface, where the kernel has it, have this bit beside the number.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// A way to hold programs to a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// Its program.
    Bubblewrap(PathBuf),
    Landlock,
}

impl Sandbox {
    /// What there may be here, the best first.
    pub(crate) fn all(path: &OsStr) -> Vec<Sandbox> {
        let bubblewrap = std::env::split_paths(path)
            .map(|directory| directory.join("bwrap"))
            .find(|program| program.is_absolute() && program.is_file());
        let bubblewrap = bubblewrap.map(Sandbox::Bubblewrap);
        bubblewrap.into_iter().chain([Sandbox::Landlock]).collect()
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Sandbox::Bubblewrap(_) => "bubblewrap and seccomp",
            Sandbox::Landlock => "Landlock and seccomp",
        }
    }

    /// Whether a program of its own stands between us and what it holds.
    pub fn is_program(&self) -> bool {
        matches!(self, Sandbox::Bubblewrap(_))
    }

    /// Whether [`Profile::protected`] holds.
    pub fn protects(&self) -> bool {
        matches!(self, Sandbox::Bubblewrap(_))
    }

    /// The command that runs a program held to `profile`.
    pub(crate) fn command(&self, profile: &Profile, spec: &ProgramSpec) -> io::Result<Command> {
        let filter = filter(self, profile.network)?;
        match self {
            Sandbox::Bubblewrap(program) => {
                let wrapped = ProgramSpec {
                    program: program.clone(),
                    args: bubblewrap(profile, spec),
                    env: spec.env.clone(),
                    cwd: "/".into(),
                };
                let mut command = wrapped.command();
                before_exec(&mut command, move || restrict(&filter));
                Ok(command)
            }
            Sandbox::Landlock => {
                let rules = rules(profile)?;
                let mut command = spec.command();
                before_exec(&mut command, move || {
                    // No new privileges before anything else: the kernel asks for it.
                    rustix::thread::set_no_new_privs(true)?;
                    // Root could read the memory of others with them.
                    rustix::thread::set_capabilities(None, NO_CAPABILITIES)?;
                    #[expect(unsafe_code, reason = "the crate's own call consumes the rules")]
                    // SAFETY: a descriptor that is open, and no flags.
                    let restricted = unsafe {
                        libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0)
                    };
                    if restricted != 0 {
                        return Err(io::Error::last_os_error());
                    }
                    restrict(&filter)
                });
                Ok(command)
            }
        }
    }
}

/// Puts the filter on this thread for good. Makes system calls only.
fn restrict(filter: &BpfProgram) -> io::Result<()> {
    // Its error says no more than the system's, and would allocate to say it.
    seccompiler::apply_filter(filter).map_err(|_| io::Error::last_os_error())
}

/// What of the system calls is refused, with "operation not permitted".
fn filter(sandbox: &Sandbox, network: Network) -> io::Result<BpfProgram> {
    let mut families = vec![libc::AF_NETLINK];
    // Bubblewrap's own network has nobody on it but the program.
    if network == Network::Host || matches!(sandbox, Sandbox::Bubblewrap(_)) {
        families.extend([libc::AF_INET, libc::AF_INET6]);
    }
    let other = families.into_iter().map(|family| {
        let family = u64::from(family.unsigned_abs());
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family)
    });
    let other: Result<Vec<_>, _> = other.collect();
    let socket = SeccompRule::new(other.map_err(io::Error::other)?).map_err(io::Error::other)?;
    let mut calls: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    calls.insert(libc::SYS_socket, vec![socket]);
    calls.extend(REFUSED.map(|call| (call, Vec::new())));
    #[cfg(target_arch = "x86_64")]
    calls.append(
        &mut calls
            .clone()
            .into_iter()
            .map(|(call, rules)| (call | X32, rules))
            .collect(),
    );
    let machine = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(calls, SeccompAction::Allow, refused, machine)
        .and_then(BpfProgram::try_from)
        .map_err(io::Error::other)
}

/// Bubblewrap's arguments. What is mounted later covers what was before: the deeper a place, the later.
fn bubblewrap(profile: &Profile, spec: &ProgramSpec) -> Vec<OsString> {
    let mut args: Vec<OsString> = [
        "--unshare-user-try",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--ro-bind",
        "/",
        "/",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
    ]
    .map(OsString::from)
    .into();
    if profile.network == Network::None {
        args.push("--unshare-net".into());
    }
    let there = |path: &&PathBuf| path.exists();
    let hidden = profile.hidden.iter().filter(there);
    let protected = profile.protected.iter().filter(there);
    // What is mounted somewhere cannot be renamed, but what leads there can, unless it is mounted, too.
    let leading = protected.clone().flat_map(|path| {
        let writable = |of: &&Path| {
            let mut writable = profile.writable.iter();
            writable.any(|writable| of.starts_with(writable) && of != writable)
        };
        path.ancestors().skip(1).filter(writable)
    });
    let mut mounts: Vec<(&Path, Mount)> = Vec::new();
    mounts.extend(hidden.map(|path| (path.as_path(), Mount::Empty)));
    mounts.extend(
        profile
            .writable
            .iter()
            .map(|path| (path.as_path(), Mount::Writable)),
    );
    mounts.extend(leading.map(|path| (path, Mount::Writable)));
    mounts.extend(
        protected
            .clone()
            .map(|path| (path.as_path(), Mount::ReadOnly)),
    );
    mounts.sort_by_key(|(path, _)| path.components().count());
    for (path, mount) in mounts {
        match mount {
            Mount::Empty if path.is_dir() => args.extend(["--tmpfs".into(), path.into()]),
            Mount::Empty => args.extend(["--ro-bind".into(), "/dev/null".into(), path.into()]),
            Mount::Writable => args.extend(["--bind".into(), path.into(), path.into()]),
            Mount::ReadOnly => args.extend(["--ro-bind".into(), path.into(), path.into()]),
        }
    }
    args.extend(["--chdir".into(), spec.cwd.clone().into(), "--".into()]);
    args.push(spec.program.clone().into());
    args.extend(spec.args.iter().cloned());
    args
}

/// What is at a place of the view that bubblewrap makes.
enum Mount {
    Empty,
    Writable,
    ReadOnly,
}

/// Landlock's rules, in a descriptor.
fn rules(profile: &Profile) -> io::Result<OwnedFd> {
    let needed = AccessFs::from_all(LANDLOCK_NEEDED);
    let created = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(needed)
        .and_then(|rules| {
            rules
                .set_compatibility(CompatLevel::BestEffort)
                .handle_access(AccessFs::from_all(LANDLOCK))?
                .scope(Scope::from_all(LANDLOCK))?
                .create()
        });
    let mut rules = created.map_err(io::Error::other)?;
    for path in &profile.writable {
        if let Some(hidden) = profile
            .hidden
            .iter()
            .find(|hidden| hidden.starts_with(path))
        {
            let (hidden, path) = (hidden.display(), path.display());
            let text = format!("Landlock cannot hide {hidden} within {path}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let place = open(path)?.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} is not there", path.display()),
            )
        })?;
        let is_dir = path.is_dir();
        rules = allow(rules, place, is_dir, AccessFs::from_all(LANDLOCK))?;
    }
    for path in DEVICES.map(Path::new) {
        if let Some(device) = open(path)? {
            rules = allow(rules, device, false, AccessFs::from_all(LANDLOCK))?;
        }
    }
    // The names in a directory may be known where what they name may not.
    let root = Path::new("/");
    if let Some(root) = open(root)? {
        rules = allow(rules, root, true, AccessFs::ReadDir.into())?;
    }
    let devices = Path::new("/dev");
    let mut hidden: Vec<&Path> = profile.hidden.iter().map(PathBuf::as_path).collect();
    hidden.push(devices);
    rules = allow_reading(rules, root, &hidden)?;
    let descriptor: Option<OwnedFd> = rules.into();
    descriptor
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "this kernel has no Landlock"))
}

/// All below `directory` but what is hidden. As rights cannot be taken back, what leads to something hidden is given
/// entry by entry, and what is made there later cannot be read.
fn allow_reading(
    mut rules: RulesetCreated,
    directory: &Path,
    hidden: &[&Path],
) -> io::Result<RulesetCreated> {
    // One that cannot be listed leads nobody anywhere.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        // What a link leads to is allowed where that is.
        if kind.is_symlink() || hidden.iter().any(|hidden| path.starts_with(hidden)) {
            continue;
        }
        if kind.is_dir() && hidden.iter().any(|hidden| hidden.starts_with(&path)) {
            rules = allow_reading(rules, &path, hidden)?;
        } else if let Some(place) = open(&path)? {
            rules = allow(rules, place, kind.is_dir(), AccessFs::from_read(LANDLOCK))?;
        }
    }
    Ok(rules)
}

fn allow(
    rules: RulesetCreated,
    place: OwnedFd,
    is_dir: bool,
    rights: BitFlags<AccessFs>,
) -> io::Result<RulesetCreated> {
    let rights = match is_dir {
        true => rights,
        false => rights & AccessFs::from_file(LANDLOCK),
    };
    rules
        .add_rule(PathBeneath::new(place, rights))
        .map_err(io::Error::other)
}

/// A place itself, not what a link there leads to; `None` when it is gone.
fn open(path: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(place) => Ok(Some(place)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
