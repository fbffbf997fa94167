//! What one sandboxed command may use: processes, memory, open files, the size of a file. Called by
//! [`super::super::program`] while a command runs.
//!
//! | limit | how it is kept |
//! |---|---|
//! | open files, size of a file | by the kernel, for each process |
//! | processes | by the kernel, but for root; and by counting, here |
//! | memory | by adding up, here: a limit of the kernel's is per process, and breaks sanitizers |
//!
//! Counting happens twice a second: a command may exceed its limit for that long.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use agent_team_system::limits::Limits;
use agent_team_system::process::{ProcessId, Signal, anonymous_bytes};
use agent_team_system::tree::Tree;

use super::settings::Settings;

/// Between two looks at a running command.
pub(crate) const LOOK: Duration = Duration::from_millis(500);

/// What a program says when the kernel refuses it something, and which setting that is.
const REFUSALS: [(&str, Setting); 6] = [
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
}

/// A limit that a command exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded {
    setting: Setting,
    limit: u64,
}

/// Watches one command.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    settings: Settings,
    /// A refusal that the command has printed.
    refused: Option<Setting>,
}

impl Settings {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            processes: Some(self.processes),
            open_files: Some(self.open_files),
            file_bytes: Some(self.file_mib.saturating_mul(1 << 20)),
        }
    }

    fn limit(&self, setting: Setting) -> u64 {
        match setting {
            Setting::Processes => self.processes,
            Setting::MemoryMib => self.memory_mib,
            Setting::OpenFiles => self.open_files,
            Setting::FileMib => self.file_mib,
        }
    }
}

impl Watch {
    pub(super) fn new(settings: Settings) -> Watch {
        Watch {
            settings,
            refused: None,
        }
    }

    /// Reads the process table.
    pub(crate) fn look(&self, leader: ProcessId) -> io::Result<Option<Exceeded>> {
        let tree = Tree {
            root: Some(leader),
            sessions: vec![leader],
            marker: String::new(),
        };
        let processes = tree.survivors()?;
        let exceeded = |setting| {
            let limit = self.settings.limit(setting);
            Exceeded { setting, limit }
        };
        if processes.len() as u64 > self.settings.processes {
            return Ok(Some(exceeded(Setting::Processes)));
        }
        let memory = processes.iter().map(|process| anonymous_bytes(process.pid));
        let memory: u64 = memory.filter_map(|bytes| bytes.ok().flatten()).sum();
        let is_too_much = memory >> 20 > self.settings.memory_mib;
        Ok(is_too_much.then(|| exceeded(Setting::MemoryMib)))
    }

    /// Notes what the command prints.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        let says = |text: &str| memchr::memmem::find(bytes, text.as_bytes()).is_some();
        let mut refusals = REFUSALS.iter().filter(|(text, _)| says(text));
        self.refused = self
            .refused
            .or(refusals.next().map(|(_, setting)| *setting));
    }

    /// A limit may be the reason why the command failed. A command that succeeds can print the same text, as `grep` does.
    pub(crate) fn hint(&self, status: ExitStatus) -> Option<String> {
        if status.success() {
            return None;
        }
        let signal = status.signal().or(status.code().map(|code| code - 128));
        let too_large = signal == Some(Signal::SIGXFSZ as i32);
        let of_signal = too_large.then_some(Setting::FileMib);
        let setting = of_signal.or(self.refused)?;
        let limit = self.settings.limit(setting);
        let exceeded = Exceeded { setting, limit };
        Some(format!(
            "note: this command may have reached a limit: {exceeded}"
        ))
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, name) = match self.setting {
            Setting::Processes => ("processes", "processes"),
            Setting::MemoryMib => ("MiB of memory", "memory_mib"),
            Setting::OpenFiles => ("open files in a process", "open_files"),
            Setting::FileMib => ("MiB in a file", "file_mib"),
        };
        write!(
            f,
            "{} {what}; the user raises it with {name} = N below [sandbox] in config.toml",
            self.limit
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_command_has_a_limit_hint() {
        let mut watch = Watch::new(Settings::default());
        watch.read(b"notes.txt: Too many open files");
        assert_eq!(watch.hint(ExitStatus::from_raw(0)), None);
        let hint = watch.hint(ExitStatus::from_raw(1 << 8)).unwrap();
        assert!(hint.contains("open_files = N"), "{hint}");
    }
}
