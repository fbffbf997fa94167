//! Linux: `/proc`, pidfds, `prctl`. `macos.rs` exports the same names.
//!
//! Called only from this crate, whose public functions document the meaning. Nothing here decides which process belongs
//! to which launch. A process that no longer exists is a value (`None` or false), never an error.

#[path = "linux/sandbox.rs"]
mod sandbox;
#[path = "linux/session.rs"]
mod session;

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use nix::libc;
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use rustix::process::PidfdFlags;
use rustix::pty::OpenptFlags;

pub use self::sandbox::Sandbox;
pub(crate) use self::session::spawn_session;

/// One line of the process table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) session: u32,
    /// Clock ticks since boot.
    pub(crate) start_time: u64,
    /// Exited and not yet reaped.
    pub(crate) zombie: bool,
    /// Stopped by a signal or a debugger.
    pub(crate) stopped: bool,
    /// Device number of the controlling terminal, 0 without one.
    terminal: i32,
}

pub(crate) fn monotonic_ms() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has CLOCK_MONOTONIC");
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec()).unwrap_or(0);
    seconds * 1000 + nanos / 1_000_000
}

pub(crate) fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

pub(crate) fn stat(pid: u32) -> io::Result<Option<Stat>> {
    // One read returns the whole line if the buffer is large enough; a line usually has about 300 bytes.
    let mut line = [0; 1024];
    let read =
        fs::File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read(&mut line));
    match exited_is_none(read)? {
        None => Ok(None),
        Some(bytes) => parse_stat(&line[..bytes]).map(Some).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("/proc/{pid}/stat does not parse"),
            )
        }),
    }
}

/// All visible processes. Not a snapshot: a process that is forked meanwhile may be missing.
pub(crate) fn processes() -> io::Result<Vec<Stat>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        found.extend(stat(pid)?);
    }
    Ok(found)
}

/// The effective user of a process, or root if the process is not dumpable (proc(5)); `None` when it has exited.
pub(crate) fn owner(pid: u32) -> io::Result<Option<u32>> {
    Ok(exited_is_none(fs::metadata(format!("/proc/{pid}")))?.map(|metadata| metadata.uid()))
}

/// The environment at the start of a process, as `NAME=value` entries that each end with a NUL; `None` when it has
/// exited or may not be read.
pub(crate) fn environment(pid: u32) -> io::Result<Option<Vec<u8>>> {
    match fs::read(format!("/proc/{pid}/environ")) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        result => exited_is_none(result),
    }
}

/// The part of [`resident_bytes`] that is backed neither by a file nor by shared memory; `None` for a kernel thread,
/// and when the process has exited.
pub(crate) fn anonymous_bytes(pid: u32) -> io::Result<Option<u64>> {
    let Some(text) = exited_is_none(fs::read_to_string(format!("/proc/{pid}/status")))? else {
        return Ok(None);
    };
    // Kernel threads and zombies have no such line.
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.map(|kib| kib << 10))
}

/// Number of processes and threads of this user. RLIMIT_NPROC counts them by real user; this function uses
/// [`owner`], which differs for set-user-ID programs and for processes that are not dumpable.
pub(crate) fn threads_of_user() -> io::Result<u64> {
    let user = nix::unistd::geteuid().as_raw();
    let mut threads = 0;
    for stat in processes()? {
        if owner(stat.pid)? == Some(user) {
            let listed = fs::read_dir(format!("/proc/{}/task", stat.pid));
            threads += listed.map_or(1, |listed| listed.count() as u64);
        }
    }
    Ok(threads)
}

/// The kernel's coarse time. Since Linux 6.13 some file systems use finer time stamps, which are never earlier.
pub(crate) fn file_time() -> SystemTime {
    let now = clock_gettime(ClockId::CLOCK_REALTIME_COARSE);
    let now = now.expect("every Linux has CLOCK_REALTIME_COARSE");
    SystemTime::UNIX_EPOCH + Duration::from(now)
}

pub(crate) fn memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// Memory of a process in RAM; `None` when it has exited.
pub(crate) fn resident_bytes(pid: u32) -> io::Result<Option<u64>> {
    let Some(line) = exited_is_none(fs::read_to_string(format!("/proc/{pid}/statm")))? else {
        return Ok(None);
    };
    let pages: u64 = line
        .split(' ')
        .nth(1)
        .and_then(|field| field.parse().ok())
        .unwrap_or(0);
    Ok(Some(pages * rustix::param::page_size() as u64))
}

/// Path of this process's controlling terminal.
pub(crate) fn controlling_terminal() -> io::Result<Option<std::path::PathBuf>> {
    let Some(own_stat) = stat(std::process::id())? else {
        return Ok(None);
    };
    if own_stat.terminal == 0 {
        return Ok(None);
    }
    let device = u64::from(own_stat.terminal.cast_unsigned());
    // Usually a standard stream is the terminal, and the other devices need not be searched.
    let standard_streams =
        (0..=2).filter_map(|number| fs::read_link(format!("/proc/self/fd/{number}")).ok());
    let all = ["/dev/pts", "/dev"]
        .into_iter()
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    for path in standard_streams.chain(all) {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let is_device = std::os::unix::fs::FileTypeExt::is_char_device(&metadata.file_type());
        if is_device && metadata.rdev() == device {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

pub(crate) fn is_subreaper() -> io::Result<bool> {
    Ok(nix::sys::prctl::get_child_subreaper()?)
}

/// A subreaper adopts the orphans among its descendants.
pub(crate) fn set_subreaper(on: bool) -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(on)?)
}

/// Marks every descriptor above stderr close-on-exec, including those that this process inherited without the flag.
/// Kernels before 5.11 refuse the call. A child then still inherits the descriptors that this process inherited without
/// the flag; the descriptors that this process opened have the flag.
pub(crate) fn close_descriptors_on_exec() {
    #[expect(unsafe_code, reason = "neither nix nor rustix wraps close_range")]
    // SAFETY: the call takes three integers and, with this flag, closes nothing.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}

/// Allocates disk blocks for a file of this size.
pub(crate) fn allocate(file: &fs::File, bytes: u64) -> io::Result<()> {
    let bytes = i64::try_from(bytes).map_err(io::Error::other)?;
    Ok(nix::fcntl::posix_fallocate(file, 0, bytes)?)
}

pub(crate) fn open_pty_master() -> io::Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&master)?;
    Ok(master)
}

/// The program's side of a pseudo-terminal. Opens it through the master, not by name: another `/dev/pts` may be mounted
/// in this namespace.
pub(crate) fn open_pty_terminal(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    Ok(rustix::pty::ioctl_tiocgptpeer(master, flags)?)
}

/// A pidfd: refers to one process even if its pid is reused, and is readable once the process has exited.
#[derive(Debug)]
pub(crate) struct Handle(OwnedFd);

impl Handle {
    /// `None` when there is no such process. A zombie is a process.
    pub(crate) fn open(pid: u32) -> io::Result<Option<Handle>> {
        let Some(pid) = i32::try_from(pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        else {
            return Ok(None);
        };
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => Ok(Some(Handle(descriptor))),
            // ENOENT and EINVAL: the id belongs to a thread.
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::NOENT | rustix::io::Errno::INVAL) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Signals the process. False if it has already exited.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<bool> {
        let signal = rustix::process::Signal::from_named_raw(signal as i32)
            .expect("nix has only named signals");
        match rustix::process::pidfd_send_signal(&self.0, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsRawFd for Handle {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<Handle> for OwnedFd {
    fn from(handle: Handle) -> OwnedFd {
        handle.0
    }
}

/// Maps the errors of a process that exits while its files in `/proc` are read (a missing file or ESRCH) to `None`.
fn exited_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(libc::ESRCH) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Parses a line of `/proc/<pid>/stat`. The name (field 2) is in parentheses and can contain spaces and parentheses, so
/// the fields are counted from the last closing parenthesis; see proc_pid_stat(5).
fn parse_stat(line: &[u8]) -> Option<Stat> {
    let name_end = line.iter().rposition(|&byte| byte == b')')?;
    let pid = std::str::from_utf8(line.split(|&byte| byte == b' ').next()?)
        .ok()?
        .parse()
        .ok()?;
    let rest = std::str::from_utf8(line.get(name_end + 2..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    // While a process has other threads, its exited main thread has state Z, but the process still runs.
    let threads: u32 = field(20)?.parse().ok()?;
    // While a process is being reaped, `/proc/<pid>/stat` reports session -1.
    let session: i32 = field(6)?.parse().ok()?;
    let reaped = session < 0;
    Some(Stat {
        pid,
        parent: field(4)?.parse().ok()?,
        session: session.try_into().unwrap_or(0),
        terminal: field(7)?.parse().ok()?,
        start_time: field(22)?.parse().ok()?,
        zombie: reaped || (matches!(field(3)?, "Z" | "X") && threads <= 1),
        stopped: matches!(field(3)?, "T" | "t"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parentheses_in_a_process_name_do_not_shift_fields() {
        let line =
            b"42 (a) S 1 (b) c) Z 7 42 41 34816 42 4194304 1 0 0 0 0 0 0 0 20 0 1 0 9876 0 0";
        let stat = parse_stat(line).unwrap();
        assert_eq!(
            (stat.pid, stat.parent, stat.session, stat.start_time),
            (42, 7, 41, 9876)
        );
        assert!(stat.zombie);
    }

    #[test]
    fn a_process_being_reaped_counts_as_a_zombie() {
        let line = b"42 (x) X 0 -1 -1 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 0 0 9876 0 0";
        let stat = parse_stat(line).unwrap();
        assert!(stat.zombie);
        assert_eq!((stat.session, stat.start_time), (0, 9876));
    }

    #[test]
    fn an_exited_main_thread_does_not_make_a_zombie() {
        let line = b"42 (x) Z 7 42 41 0 42 4194304 1 0 0 0 0 0 0 0 20 0 3 0 9876 0 0";
        assert!(!parse_stat(line).unwrap().zombie);
    }
}
