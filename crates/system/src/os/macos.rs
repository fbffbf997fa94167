//! macOS: `libproc`, `sysctl`, kqueue. `linux.rs` exports the same names.
//!
//! This file has never been compiled: the project is built and tested on Linux. It is small and uses only functions
//! that the headers of macOS declare. Run this crate's tests before anything else when building on a Mac.
//!
//! macOS has no subreapers: launchd adopts each orphan, and [`crate::tree`] finds it by its session or marker.
//!
//! macOS has no pidfd. A pid may have been reused, so `signal` compares the start time immediately before `kill`.

use std::ffi::{CStr, OsStr, OsString};
use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use rustix::pty::OpenptFlags;

use crate::sandbox::{Profile, seatbelt};
use crate::spawn::{ProgramSpec, before_exec};

/// One line of the process table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) session: u32,
    /// Microseconds of Unix time.
    pub(crate) start_time: u64,
    /// Exited and not yet reaped.
    pub(crate) zombie: bool,
    /// Stopped by a signal or a debugger.
    pub(crate) stopped: bool,
}

/// Uses CLOCK_UPTIME_RAW, because on macOS CLOCK_MONOTONIC also counts the time asleep.
pub(crate) fn monotonic_ms() -> u64 {
    let clock = ClockId::from_raw(libc::CLOCK_UPTIME_RAW);
    let now = clock_gettime(clock).expect("every macOS has CLOCK_UPTIME_RAW");
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec()).unwrap_or(0);
    seconds * 1000 + nanos / 1_000_000
}

pub(crate) fn boot_id() -> io::Result<String> {
    let mut id = [0_u8; 64];
    let mut length = id.len();
    #[expect(unsafe_code, reason = "nix does not wrap sysctlbyname")]
    // SAFETY: the name ends with NUL, and `length` is the size of `id`.
    let result = unsafe {
        libc::sysctlbyname(
            c"kern.bootsessionuuid".as_ptr(),
            id.as_mut_ptr().cast(),
            &mut length,
            ptr::null_mut(),
            0,
        )
    };
    Errno::result(result)?;
    let id = CStr::from_bytes_until_nul(&id).map_err(io::Error::other)?;
    Ok(id.to_string_lossy().into_owned())
}

pub(crate) fn stat(pid: u32) -> io::Result<Option<Stat>> {
    Ok(bsd_info(pid)?.map(|info| Stat {
        pid,
        parent: info.pbi_ppid,
        session: session(pid).unwrap_or(0),
        start_time: info.pbi_start_tvsec * 1_000_000 + info.pbi_start_tvusec,
        zombie: info.pbi_status == libc::SZOMB,
        stopped: info.pbi_status == libc::SSTOP,
    }))
}

fn session(pid: u32) -> Option<u32> {
    let session = nix::unistd::getsid(Some(raw(pid)?)).ok()?;
    u32::try_from(session.as_raw()).ok()
}

fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid)
        .ok()
        .filter(|pid| *pid > 0)
        .map(Pid::from_raw)
}

fn bsd_info(pid: u32) -> io::Result<Option<libc::proc_bsdinfo>> {
    // With the argument 1, the call also finds zombies.
    proc_info(pid, libc::PROC_PIDTBSDINFO, 1)
}

/// Reads a plain structure from libproc; `None` when there is no such process.
fn proc_info<T: Copy>(pid: u32, flavor: libc::c_int, argument: u64) -> io::Result<Option<T>> {
    let Some(pid) = raw(pid) else { return Ok(None) };
    let size = mem::size_of::<T>();
    let mut info = mem::MaybeUninit::<T>::zeroed();
    #[expect(unsafe_code, reason = "nix does not wrap libproc")]
    // SAFETY: the buffer is one T, and `size` is the size of T.
    let filled = unsafe {
        libc::proc_pidinfo(
            pid.as_raw(),
            flavor,
            argument,
            info.as_mut_ptr().cast(),
            size as libc::c_int,
        )
    };
    if filled as usize == size {
        #[expect(unsafe_code, reason = "the kernel has filled the value")]
        // SAFETY: all of T was written; the callers' types are C structures of integers.
        return Ok(Some(unsafe { info.assume_init() }));
    }
    match Errno::last() {
        Errno::ESRCH => Ok(None),
        error => Err(error.into()),
    }
}

/// All visible processes. Not a snapshot: a process that is forked meanwhile may be missing.
pub(crate) fn processes() -> io::Result<Vec<Stat>> {
    let mut pids: Vec<libc::pid_t> = vec![0; 4096];
    let count = loop {
        let bytes = mem::size_of_val(pids.as_slice());
        #[expect(unsafe_code, reason = "nix does not wrap libproc")]
        // SAFETY: the buffer has the given size.
        let count =
            unsafe { libc::proc_listallpids(pids.as_mut_ptr().cast(), bytes as libc::c_int) };
        let count = Errno::result(count)? as usize;
        if count < pids.len() {
            break count;
        }
        pids.resize(pids.len() * 2, 0);
    };
    let mut found = Vec::new();
    for pid in pids
        .into_iter()
        .take(count)
        .filter_map(|pid| u32::try_from(pid).ok())
    {
        // The kernel may refuse to report processes of other users; they are not needed.
        found.extend(stat(pid).ok().flatten());
    }
    Ok(found)
}

/// The effective user of a process; `None` when it has exited.
pub(crate) fn owner(pid: u32) -> io::Result<Option<u32>> {
    Ok(bsd_info(pid)?.map(|info| info.pbi_uid))
}

/// The environment at the start of a process, as `NAME=value` entries that each end with a NUL; `None` when it has
/// exited or may not be read.
pub(crate) fn environment(pid: u32) -> io::Result<Option<Vec<u8>>> {
    let Some(pid) = raw(pid) else { return Ok(None) };
    let mut name = [libc::CTL_KERN, libc::KERN_PROCARGS2, pid.as_raw()];
    // The kernel's limit on arguments and environment together.
    let mut bytes = vec![0_u8; 1 << 20];
    let mut length = bytes.len();
    #[expect(unsafe_code, reason = "nix does not wrap sysctl")]
    // SAFETY: `name` has three elements, and `length` is the size of `bytes`.
    let result = unsafe {
        libc::sysctl(
            name.as_mut_ptr(),
            3,
            bytes.as_mut_ptr().cast(),
            &mut length,
            ptr::null_mut(),
            0,
        )
    };
    if result != 0 {
        // EINVAL: the process has exited or belongs to another user. All other errors count as unreadable too.
        return Ok(None);
    }
    bytes.truncate(length);
    Ok(after_arguments(&bytes).map(<[u8]>::to_vec))
}

/// Returns the environment from KERN_PROCARGS2, whose layout is: the number of arguments, the program's path, NULs, the
/// arguments, the environment.
fn after_arguments(bytes: &[u8]) -> Option<&[u8]> {
    let (count, mut rest) = bytes.split_first_chunk()?;
    let mut skip_until = |wanted: fn(u8) -> bool| -> Option<()> {
        let end = rest.iter().position(|&byte| wanted(byte))?;
        rest = &rest[end..];
        Some(())
    };
    skip_until(|byte| byte == 0)?;
    skip_until(|byte| byte != 0)?;
    for _ in 0..i32::from_ne_bytes(*count) {
        let end = rest.iter().position(|&byte| byte == 0)?;
        rest = &rest[end + 1..];
    }
    Some(rest)
}

/// The resident memory: `proc_taskinfo` does not contain the anonymous memory.
pub(crate) fn anonymous_bytes(pid: u32) -> io::Result<Option<u64>> {
    resident_bytes(pid)
}

/// Number of processes of this user: on macOS, RLIMIT_NPROC counts processes, not threads. RLIMIT_NPROC counts them by
/// real user; this function uses [`owner`], which differs for set-user-ID programs.
pub(crate) fn threads_of_user() -> io::Result<u64> {
    let user = nix::unistd::geteuid().as_raw();
    let mut threads = 0;
    for stat in processes()? {
        threads += u64::from(owner(stat.pid)? == Some(user));
    }
    Ok(threads)
}

pub(crate) fn file_time() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// Memory of this machine; not read on macOS.
pub(crate) fn memory_bytes() -> Option<u64> {
    None
}

/// Memory of a process in RAM; `None` when it has exited.
pub(crate) fn resident_bytes(pid: u32) -> io::Result<Option<u64>> {
    let info: Option<libc::proc_taskinfo> = proc_info(pid, libc::PROC_PIDTASKINFO, 0)?;
    Ok(info.map(|info| info.pti_resident_size))
}

/// Path of this process's controlling terminal, if one of its standard streams is that terminal.
pub(crate) fn controlling_terminal() -> io::Result<Option<PathBuf>> {
    let own_session = nix::unistd::getsid(None)?;
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let stream = [input.as_fd(), output.as_fd(), error.as_fd()]
        .into_iter()
        .find(|stream| nix::sys::termios::tcgetsid(stream) == Ok(own_session));
    Ok(stream.map(nix::unistd::ttyname).transpose()?)
}

pub(crate) fn is_subreaper() -> io::Result<bool> {
    Ok(false)
}

pub(crate) fn set_subreaper(_on: bool) -> io::Result<()> {
    Ok(())
}

/// Marks every descriptor above stderr close-on-exec. Called in the child of a fork, before the limit of open files is
/// lowered: descriptors above the limit are not marked.
pub(crate) fn close_descriptors_on_exec() {
    #[expect(
        unsafe_code,
        reason = "only the numbers of the descriptors are known here"
    )]
    // SAFETY: `fcntl` takes three integers, fails for a number that is not open, and closes nothing.
    unsafe {
        for number in 3..libc::getdtablesize() {
            libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}

/// Starts a program in its own session, with default signal dispositions, with these descriptors as its stdin, stdout
/// and stderr, and with no others. Returns the program's pid.
pub(crate) fn spawn_session(
    spec: &ProgramSpec,
    [input, output, errors]: [BorrowedFd<'_>; 3],
) -> io::Result<u32> {
    let mut command = spec.command();
    command
        .stdin(input.try_clone_to_owned()?)
        .stdout(output.try_clone_to_owned()?)
        .stderr(errors.try_clone_to_owned()?);
    before_exec(&mut command, || Ok(()));
    Ok(command.spawn()?.id())
}

/// Allocates disk blocks for a file of this size.
pub(crate) fn allocate(file: &fs::File, bytes: u64) -> io::Result<()> {
    let missing = bytes.saturating_sub(file.metadata()?.len());
    if missing > 0 {
        let mut store = libc::fstore_t {
            fst_flags: libc::F_ALLOCATEALL,
            fst_posmode: libc::F_PEOFPOSMODE,
            fst_offset: 0,
            fst_length: libc::off_t::try_from(missing).map_err(io::Error::other)?,
            fst_bytesalloc: 0,
        };
        fcntl(file, FcntlArg::F_PREALLOCATE(&mut store))?;
        file.set_len(bytes)?;
    }
    Ok(())
}

pub(crate) fn open_pty_master() -> io::Result<OwnedFd> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    Ok(master)
}

/// The program's side of a pseudo-terminal.
pub(crate) fn open_pty_terminal(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let name = rustix::pty::ptsname(master, Vec::new())?;
    let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(path, flags, Mode::empty())?)
}

/// A kqueue that watches one process, readable once the process has exited.
#[derive(Debug)]
pub(crate) struct Handle {
    queue: Kqueue,
    pid: Pid,
    start_time: u64,
}

impl Handle {
    /// `None` when there is no such process. A zombie is a process.
    pub(crate) fn open(pid: u32) -> io::Result<Option<Handle>> {
        let (Some(found), Some(pid)) = (stat(pid)?, raw(pid)) else {
            return Ok(None);
        };
        let queue = Kqueue::new()?;
        let identifier = pid.as_raw().unsigned_abs() as libc::uintptr_t;
        let add = |filter, flags, event| {
            let change = KEvent::new(identifier, filter, flags, event, 0, 0);
            queue.kevent(&[change], &mut [], None)
        };
        let on_exit = add(
            EventFilter::EVFILT_PROC,
            EvFlags::EV_ADD,
            FilterFlag::NOTE_EXIT,
        );
        match on_exit {
            Ok(_) => {}
            // The process has exited; a zombie cannot be watched. Make the handle readable at once.
            Err(Errno::ESRCH) => {
                add(
                    EventFilter::EVFILT_USER,
                    EvFlags::EV_ADD,
                    FilterFlag::empty(),
                )?;
                add(
                    EventFilter::EVFILT_USER,
                    EvFlags::empty(),
                    FilterFlag::NOTE_TRIGGER,
                )?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Some(Handle {
            queue,
            pid,
            start_time: found.start_time,
        }))
    }

    /// Signals the process. False if it has already exited.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<bool> {
        let found = stat(self.pid.as_raw().unsigned_abs())?;
        if found.is_none_or(|found| found.zombie || found.start_time != self.start_time) {
            return Ok(false);
        }
        match kill(self.pid, signal) {
            Ok(()) => Ok(true),
            Err(Errno::ESRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsRawFd for Handle {
    fn as_raw_fd(&self) -> RawFd {
        self.queue.as_fd().as_raw_fd()
    }
}

impl From<Handle> for OwnedFd {
    fn from(handle: Handle) -> OwnedFd {
        handle.queue.into()
    }
}

/// A mechanism that enforces a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sandbox {
    Seatbelt,
}

impl Sandbox {
    pub(crate) fn all(_path: &OsStr) -> Vec<Sandbox> {
        vec![Sandbox::Seatbelt]
    }

    pub(crate) fn name(&self) -> &'static str {
        "sandbox-exec"
    }

    /// Whether a wrapper process runs between this process and the sandboxed program.
    pub fn has_wrapper(&self) -> bool {
        // sandbox-exec replaces itself with the program.
        false
    }

    /// Whether [`Profile::protected`] is enforced.
    pub fn protects(&self) -> bool {
        true
    }

    /// Whether a path must exist before it can be protected. False: rules also apply to paths that do not exist.
    pub(crate) fn needs_placeholders(&self) -> bool {
        false
    }

    /// Checks that this sandbox can hide the hidden paths of `profile`. Never fails on macOS.
    pub fn supports(&self, _profile: &Profile) -> io::Result<()> {
        Ok(())
    }

    /// The command that runs a program under `profile`.
    pub(crate) fn command(
        &self,
        profile: &Profile,
        spec: &ProgramSpec,
        _lock: Option<OwnedFd>,
    ) -> io::Result<Command> {
        let mut args: Vec<OsString> = vec!["-p".into(), seatbelt::profile(profile).into()];
        args.push(spec.program.clone().into());
        args.extend(spec.args.iter().cloned());
        let wrapped = ProgramSpec {
            program: "/usr/bin/sandbox-exec".into(),
            args,
            env: spec.env.clone(),
            cwd: spec.cwd.clone(),
        };
        let mut command = wrapped.command();
        let limits = profile.limits.for_kernel()?;
        before_exec(&mut command, move || limits.apply());
        Ok(command)
    }
}
