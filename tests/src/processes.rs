//! Finds the processes of a world: all processes whose environment or command line contains the world's directory.
//! Called by the rig, and by tests that check that no process is left.
//!
//! The environment of the supervisor and of the processes that it starts contains this directory, and so does the
//! command line of tmux. The name of the directory is random, so it does not occur in a process of another world. This
//! module also finds a process that leaves its session or its parent in a test: such a process keeps its environment.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use agent_team_system::process::{ExitWatch, ProcessId, Signal};

use crate::within;

/// One process of a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub process: ProcessId,
    /// The file name of the first argument, which is the program. Select processes by this name if possible: the
    /// rest of the command line contains paths of the checkout, in which the name of a program can occur.
    pub program: String,
    /// The command line, with blanks between the arguments.
    pub command: String,
}

impl Found {
    /// Whether the process runs one of the project's own programs.
    pub fn is_ours(&self) -> bool {
        crate::binaries::NAMES.contains(&self.program.as_str())
    }
}

/// The living processes of the world in `directory`, except the calling process. Empty if there is no `/proc`.
pub fn of(directory: &Path) -> Vec<Found> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = std::process::id();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| found(pid, directory.as_os_str().as_bytes()))
        .collect()
}

fn found(pid: u32, directory: &[u8]) -> Option<Found> {
    let process = ProcessId::of(pid).ok()??;
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let names = |bytes: &[u8]| {
        bytes
            .windows(directory.len())
            .any(|window| window == directory)
    };
    let command = String::from_utf8_lossy(&arguments).replace('\0', " ");
    let first = arguments
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    let program = Path::new(OsStr::from_bytes(first)).file_name();
    let program = program.map(|name| name.to_string_lossy().into_owned());
    (names(&environment) || names(&arguments)).then_some(Found {
        process,
        program: program.unwrap_or_default(),
        command,
    })
}

/// Kills the processes of the world in `directory`, and the processes that they start meanwhile.
pub async fn end(directory: &Path) {
    loop {
        let found = of(directory);
        if found.is_empty() {
            return;
        }
        // Kill all processes before waiting for the first exit: a worker starts a supervisor when its supervisor dies.
        for Found { process, .. } in &found {
            let _already_gone = process.signal(Signal::SIGKILL);
        }
        for Found {
            process, command, ..
        } in found
        {
            ended_of(process, &command).await;
        }
    }
}

/// The process with this pid.
///
/// # Panics
/// When no process has this pid.
pub fn living(pid: u64) -> ProcessId {
    let pid = u32::try_from(pid).expect("a pid");
    ProcessId::of(pid)
        .expect("the process table can be read")
        .unwrap_or_else(|| panic!("process {pid} is not alive"))
}

/// Waits for the exit of a process.
pub async fn ended(process: ProcessId) {
    ended_of(process, "").await;
}

async fn ended_of(process: ProcessId, command: &str) {
    if let Some(mut watch) = ExitWatch::open(process).expect("the process can be watched") {
        let what = format!("the end of process {} {command}", process.pid);
        within(&what, watch.exited())
            .await
            .expect("the process can be watched");
    }
}

/// Kills a process as `kill -9` does, and waits for its exit.
///
/// # Panics
/// When the process has already exited.
pub async fn kill(process: ProcessId) {
    let was_alive = process
        .signal(Signal::SIGKILL)
        .expect("the process can be signalled");
    assert!(was_alive, "process {} had ended already", process.pid);
    ended(process).await;
}
