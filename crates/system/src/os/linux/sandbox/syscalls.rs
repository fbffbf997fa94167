//! The system calls that a sandboxed program is refused, as seccomp filters. Called by [`super::Sandbox::command`].
//!
//! Three filters, because a filter gives one error for all that it refuses, and because bubblewrap needs calls that the
//! program must not make:
//!
//! | filter | error | is put on |
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

/// Calls that change what is mounted where, or enter another namespace.
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

/// A flag of `unshare` alone: in `clone` the bit belongs to the number of a signal.
const CLONE_NEWTIME: libc::c_int = 0x80;

/// The bits of a socket's type that are not flags.
const SOCK_TYPE_MASK: u64 = 0xf;

/// Calls of the x32 interface, where the kernel has it, have this bit beside the number.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// Refused calls, each with the arguments that are refused; without any: all.
type Calls = BTreeMap<i64, Vec<SeccompRule>>;

/// What reaches processes and services outside the sandbox. `own_network`: the program has a network namespace of its
/// own, in which it may use IP.
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
    // A pair is connected to itself, but a datagram socket of a pair can be connected again, or sends to any path.
    // The kernel takes SOCK_RAW for SOCK_DGRAM (unix(7)); stream and seqpacket sockets refuse another address.
    let mut pairs = vec![rule(vec![argument(0, SeccompCmpOp::Ne, libc::AF_UNIX)?])?];
    for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW] {
        let masked = SeccompCmpOp::MaskedEq(SOCK_TYPE_MASK);
        pairs.push(rule(vec![argument(1, masked, kind)?])?);
    }
    calls.insert(libc::SYS_socketpair, pairs);
    calls.extend(REFUSED.map(|call| (call, Vec::new())));
    compile(calls, libc::EPERM)
}

/// New namespaces and mounts: within one the program could undo what hides and protects files, or reach kernel code
/// that only an administrator reaches otherwise.
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

/// The flags of `clone3` are in memory, which a filter cannot read. libc falls back to `clone` on ENOSYS alone.
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

/// Puts a filter on this thread for good. Makes system calls only.
pub(super) fn apply(filter: &BpfProgram) -> io::Result<()> {
    // The crate's error allocates its text; the system's code says the same.
    seccompiler::apply_filter(filter).map_err(|_| io::Error::last_os_error())
}

/// The first argument has this flag.
fn has(flag: libc::c_int) -> io::Result<SeccompCondition> {
    let mask = u64::from(flag.unsigned_abs());
    argument(0, SeccompCmpOp::MaskedEq(mask), flag)
}

fn argument(index: u8, compare: SeccompCmpOp, with: libc::c_int) -> io::Result<SeccompCondition> {
    let with = u64::from(with.unsigned_abs());
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, compare, with).map_err(io::Error::other)
}

/// All of these conditions hold.
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
