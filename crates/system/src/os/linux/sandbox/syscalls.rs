//! The seccomp filters that refuse system calls to a sandboxed program. Called by [`super::Sandbox::command`].
//!
//! There are three filters, because a filter returns the same error for all refused calls, and because bubblewrap needs
//! calls that the program must not make:
//!
//! | filter | error | applied to |
//! |---|---|---|
//! | [`outside`] | EPERM | bubblewrap and the program: sockets, other processes, the kernel |
//! | [`without_clone3`] | ENOSYS | bubblewrap and the program, so that libc calls `clone`, whose flags can be read |
//! | [`namespaces`] | EPERM | the program alone: new namespaces and mounts, which bubblewrap makes itself |

use std::collections::BTreeMap;
use std::io;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::sandbox::Network;

/// Calls that inspect other processes, change the kernel, or bypass the filter.
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

/// Calls that change mounts or enter another namespace.
const MOUNTS: [libc::c_long; 12] = [
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
];

/// Flags of `clone` and `unshare` that make a namespace.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// A flag of `unshare` only: in `clone` this bit is part of the exit signal's number.
const CLONE_NEWTIME: libc::c_int = 0x80;

/// The bits of a socket's type that are not flags.
const SOCK_TYPE_MASK: u64 = 0xf;

/// The bit that marks the number of a call of the x32 ABI, which some kernels support. The filter sees such a number as
/// a different call, so each refused call is listed with this bit too.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// Refused calls, each with rules for the refused arguments. Without rules the call is always refused.
type Calls = BTreeMap<i64, Vec<SeccompRule>>;

/// Refuses calls that reach processes and services outside the sandbox. `own_network`: with [`Network::None`] the
/// program has its own network namespace, in which it may use IP.
pub(super) fn outside(network: Network, own_network: bool) -> io::Result<BpfProgram> {
    let mut families = vec![libc::AF_NETLINK];
    if network == Network::Host || own_network {
        families.extend([libc::AF_INET, libc::AF_INET6]);
    }
    let mut other = Vec::new();
    for family in families {
        other.push(argument(0, SeccompCmpOp::Ne, family)?);
    }
    let mut calls = Calls::new();
    calls.insert(libc::SYS_socket, vec![rule(other)?]);
    // socketpair returns connected sockets, but a datagram socket can be reconnected or can send to any path, and would
    // thus reach sockets outside. The kernel treats SOCK_RAW as SOCK_DGRAM (unix(7)). Stream and seqpacket sockets
    // refuse another address once connected.
    let mut pairs = vec![rule(vec![argument(0, SeccompCmpOp::Ne, libc::AF_UNIX)?])?];
    for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW] {
        let masked = SeccompCmpOp::MaskedEq(SOCK_TYPE_MASK);
        pairs.push(rule(vec![argument(1, masked, kind)?])?);
    }
    calls.insert(libc::SYS_socketpair, pairs);
    calls.extend(REFUSED.map(|call| (call, Vec::new())));
    compile(calls, libc::EPERM)
}

/// Refuses new namespaces and mounts. In a new namespace the program could undo the mounts that hide and protect files,
/// or reach kernel code that otherwise requires root.
pub(super) fn namespaces() -> io::Result<BpfProgram> {
    let mut calls: Calls = MOUNTS.map(|call| (call, Vec::new())).into();
    let mut flags = Vec::new();
    for flag in NAMESPACES {
        flags.push(rule(vec![has(flag)?])?);
    }
    calls.insert(libc::SYS_clone, flags.clone());
    flags.push(rule(vec![has(CLONE_NEWTIME)?])?);
    calls.insert(libc::SYS_unshare, flags);
    compile(calls, libc::EPERM)
}

/// Refuses `clone3`, whose flags are in memory, where a filter cannot read them. The error must be ENOSYS: only then
/// does libc fall back to `clone`.
pub(super) fn without_clone3() -> io::Result<BpfProgram> {
    compile([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS)
}

/// The bytes of a filter as `bwrap --seccomp` reads them: an array of `struct sock_filter`.
pub(super) fn bytes(filter: &BpfProgram) -> Vec<u8> {
    let mut bytes = Vec::new();
    for instruction in filter {
        bytes.extend(instruction.code.to_ne_bytes());
        bytes.extend([instruction.jt, instruction.jf]);
        bytes.extend(instruction.k.to_ne_bytes());
    }
    bytes
}

/// Applies a filter to this thread; the filter cannot be removed. Makes only system calls.
pub(super) fn apply(filter: &BpfProgram) -> io::Result<()> {
    // Converting the crate's error would allocate, which is not allowed between fork and exec.
    seccompiler::apply_filter(filter).map_err(|_| io::Error::last_os_error())
}

/// Matches calls whose first argument has this flag.
fn has(flag: libc::c_int) -> io::Result<SeccompCondition> {
    let mask = u64::from(flag.unsigned_abs());
    argument(0, SeccompCmpOp::MaskedEq(mask), flag)
}

fn argument(index: u8, compare: SeccompCmpOp, with: libc::c_int) -> io::Result<SeccompCondition> {
    let with = u64::from(with.unsigned_abs());
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, compare, with).map_err(io::Error::other)
}

/// Matches calls for which all of these conditions hold.
fn rule(conditions: Vec<SeccompCondition>) -> io::Result<SeccompRule> {
    SeccompRule::new(conditions).map_err(io::Error::other)
}

fn compile(mut calls: Calls, error: libc::c_int) -> io::Result<BpfProgram> {
    #[cfg(target_arch = "x86_64")]
    calls.append(
        &mut calls
            .clone()
            .into_iter()
            .map(|(call, rules)| (call | X32, rules))
            .collect(),
    );
    let machine = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let refused = SeccompAction::Errno(error.unsigned_abs());
    SeccompFilter::new(calls, SeccompAction::Allow, refused, machine)
        .and_then(BpfProgram::try_from)
        .map_err(io::Error::other)
}
