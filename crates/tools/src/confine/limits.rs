//! The resource limits of a member's sandboxed commands: processes, memory, open files, disk. Called by
//! [`super::super::program`] while a command runs.
//!
//! | limit | applies to | enforced by |
//! |---|---|---|
//! | open files, file size | one process, one file | the kernel |
//! | processes | all commands of the member | the kernel (not for root), and polling here |
//! | memory | all commands of the member | polling here: `RLIMIT_AS` is per process and breaks sanitizers |
//! | `/tmp` under bubblewrap | one command | the kernel |
//! | free disk space | the machine | polling here, before and during a command |
//! | memory, processes, processor time | all commands of the member | the kernel, if a control group is delegated |
//!
//! Running commands are polled twice a second, so a command can exceed a limit for half a second. When the commands of
//! a member exceed a limit together, the command with the largest usage is killed.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use agent_team_system::cgroup::{Group, GroupEvents, GroupLimits};
use agent_team_system::disk::free_bytes;
use agent_team_system::limits::Limits;
use agent_team_system::process::{ProcessId, Signal, anonymous_bytes};
use agent_team_system::tree::Tree;

use super::settings::Settings;

/// The interval between two checks of a running command.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Error messages that programs print when the kernel refuses them a resource, each with the setting that may be the
/// cause.
const REFUSALS: [(&str, Setting); 7] = [
    ("No space left on device", Setting::TemporaryMib),
    ("Too many open files", Setting::OpenFiles),
    ("File too large", Setting::FileMib),
    ("File size limit exceeded", Setting::FileMib),
    ("Resource temporarily unavailable", Setting::Processes),
    ("Cannot fork", Setting::Processes),
    ("cannot fork", Setting::Processes),
];

/// The name of a limit in `[sandbox]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    Processes,
    MemoryMib,
    OpenFiles,
    FileMib,
    TemporaryMib,
    FreeMib,
}

/// A limit that a command exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    setting: Setting,
    limit: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Usage {
    processes: u64,
    memory: u64,
}

/// The last measured usage of each running command of a member. Cheap to clone; all clones share one state.
#[derive(Debug, Clone, Default)]
pub(super) struct Commands(Arc<Mutex<Vec<Weak<Mutex<Usage>>>>>);

#[derive(Debug, Clone)]
pub(crate) struct Watch {
    settings: Settings,
    /// The usage of this command. `commands` counts it until the last clone is dropped.
    usage: Arc<Mutex<Usage>>,
    commands: Commands,
    /// The directories whose free disk space is checked.
    directories: Vec<PathBuf>,
    /// The member's control group, and its event counters before the command.
    group: Option<(Arc<Group>, GroupEvents)>,
    /// The setting for an error message that the command has printed.
    refused: Option<Setting>,
}

impl Commands {
    fn add(&self) -> Arc<Mutex<Usage>> {
        let usage = Arc::default();
        lock(&self.0).push(Arc::downgrade(&usage));
        usage
    }

    /// The sum over all commands, and whether `own` is the largest usage.
    fn sum(&self, own: u64, measure: impl Fn(&Usage) -> u64) -> (u64, bool) {
        let mut commands = lock(&self.0);
        commands.retain(|command| command.strong_count() > 0);
        let running = commands.iter().filter_map(Weak::upgrade);
        let all: Vec<u64> = running.map(|command| measure(&lock(&command))).collect();
        (all.iter().sum(), all.iter().all(|used| *used <= own))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Settings {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            processes: Some(self.processes),
            open_files: Some(self.open_files),
            file_bytes: Some(self.file_mib.saturating_mul(1 << 20)),
            scratch_bytes: Some(self.temporary_mib.saturating_mul(1 << 20)),
        }
    }

    /// The limits of the member's control group.
    pub fn of_group(&self) -> GroupLimits {
        GroupLimits {
            memory_bytes: self.memory_mib.saturating_mul(1 << 20),
            processes: self.processes,
            // Less than the default weight of 100 of the user's own programs.
            cpu_weight: 50,
        }
    }

    fn limit(&self, setting: Setting) -> u64 {
        match setting {
            Setting::Processes => self.processes,
            Setting::MemoryMib => self.memory_mib,
            Setting::OpenFiles => self.open_files,
            Setting::FileMib => self.file_mib,
            Setting::TemporaryMib => self.temporary_mib,
            Setting::FreeMib => self.free_mib,
        }
    }

    fn exceeded(&self, setting: Setting) -> Exceeded {
        let limit = self.limit(setting);
        Exceeded { setting, limit }
    }

    /// Returns whether the free space on the disk of one of these directories is below the setting.
    fn is_full(&self, directories: &[PathBuf]) -> bool {
        let mut free = directories.iter().filter_map(|path| free_bytes(path).ok());
        free.any(|free| free >> 20 < self.free_mib)
    }
}

impl Watch {
    /// # Errors
    /// If the free space on one of the disks is below the setting.
    pub(super) fn new(
        settings: Settings,
        commands: &Commands,
        directories: Vec<PathBuf>,
    ) -> io::Result<Watch> {
        if settings.is_full(&directories) {
            let text = settings.exceeded(Setting::FreeMib).to_string();
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        Ok(Watch {
            settings,
            usage: commands.add(),
            commands: commands.clone(),
            directories,
            group: None,
            refused: None,
        })
    }

    pub(super) fn grouped(mut self, group: Option<Arc<Group>>) -> Watch {
        self.group = group.map(|group| {
            let events = group.events();
            (group, events)
        });
        self
    }

    /// The limit that the kernel enforced on the group while the command ran.
    fn enforced_limit(&self) -> Option<Setting> {
        let (group, before) = self.group.as_ref()?;
        let now = group.events();
        if now.memory > before.memory {
            return Some(Setting::MemoryMib);
        }
        (now.processes > before.processes).then_some(Setting::Processes)
    }

    /// Measures this command's processes and memory, and checks the sums of the member's commands and the free disk
    /// space.
    pub(crate) fn check(&self, leader: ProcessId) -> io::Result<Option<Exceeded>> {
        let tree = Tree {
            root: Some(leader),
            sessions: vec![leader],
            marker: String::new(),
        };
        let processes = tree.survivors()?;
        let memory = processes.iter().map(|process| anonymous_bytes(process.pid));
        let own = Usage {
            processes: processes.len() as u64,
            memory: memory.filter_map(|bytes| bytes.ok().flatten()).sum(),
        };
        *lock(&self.usage) = own;
        let (processes, has_most) = self.commands.sum(own.processes, |used| used.processes);
        if has_most && processes > self.settings.processes {
            return Ok(Some(self.settings.exceeded(Setting::Processes)));
        }
        let (memory, has_most) = self.commands.sum(own.memory, |used| used.memory);
        if has_most && memory >> 20 > self.settings.memory_mib {
            return Ok(Some(self.settings.exceeded(Setting::MemoryMib)));
        }
        let is_full = self.settings.is_full(&self.directories);
        Ok(is_full.then(|| self.settings.exceeded(Setting::FreeMib)))
    }

    /// Scans the command's output for error messages.
    pub(crate) fn scan(&mut self, bytes: &[u8]) {
        let contains = |text: &str| memchr::memmem::find(bytes, text.as_bytes()).is_some();
        let mut refusals = REFUSALS.iter().filter(|(text, _)| contains(text));
        self.refused = self
            .refused
            .or(refusals.next().map(|(_, setting)| *setting));
    }

    /// A hint that a limit may be the reason for the failure of a command. `None` for a successful command: `grep`, for
    /// example, can print the text of an error message.
    pub(crate) fn hint(&self, status: ExitStatus) -> Option<String> {
        if status.success() {
            return None;
        }
        // A shell exits with 128 plus the number of the signal that killed its command.
        let signal = status.signal().or(status.code().map(|code| code - 128));
        let too_large = signal == Some(Signal::SIGXFSZ as i32);
        let of_signal = too_large.then_some(Setting::FileMib);
        let setting = self.enforced_limit().or(of_signal).or(self.refused)?;
        let exceeded = self.settings.exceeded(setting);
        Some(format!("note: a limit may be the cause: {exceeded}"))
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit;
        let (quantity, name) = match self.setting {
            Setting::Processes => ("processes of all commands of a member", "processes"),
            Setting::MemoryMib => ("MiB of memory of all commands of a member", "memory_mib"),
            Setting::OpenFiles => ("open files in a process", "open_files"),
            Setting::FileMib => ("MiB in a file", "file_mib"),
            Setting::TemporaryMib => ("MiB in /tmp", "temporary_mib"),
            Setting::FreeMib => {
                return write!(
                    f,
                    "less than {limit} MiB of disk space are free; remove files, or have the user lower free_mib = N \
                     in [sandbox] of config.toml"
                );
            }
        };
        write!(
            f,
            "more than {limit} {quantity}; the user can raise the limit with {name} = N in [sandbox] of config.toml"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_command_has_a_limit_hint() {
        let commands = Commands::default();
        let mut watch = Watch::new(Settings::default(), &commands, Vec::new()).unwrap();
        watch.scan(b"notes.txt: Too many open files");
        assert_eq!(watch.hint(ExitStatus::from_raw(0)), None);
        let hint = watch.hint(ExitStatus::from_raw(1 << 8)).unwrap();
        assert!(hint.contains("open_files = N"), "{hint}");
    }

    #[test]
    fn the_sum_counts_against_the_largest_command() {
        let commands = Commands::default();
        let watch = || Watch::new(Settings::default(), &commands, Vec::new()).unwrap();
        let (small, large) = (watch(), watch());
        lock(&small.usage).processes = 5;
        lock(&large.usage).processes = 20;
        let processes = |of| commands.sum(of, |used| used.processes);
        assert_eq!(processes(5), (25, false));
        assert_eq!(processes(20), (25, true));
        drop(large);
        assert_eq!(processes(5), (5, true));
    }
}
