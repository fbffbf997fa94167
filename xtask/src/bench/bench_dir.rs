//! The directory of a bench and its cleanup: when the bench ends, even after `^C` or a panic, kills its processes and
//! removes its files.
//!
//! The measuring process is a child process, so that its parent can clean up after any end of the child. Processes of
//! the bench are identified by the random name of the directory, which is in their environment or arguments.

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::run::Failed;

/// Timeout for processes to exit after SIGKILL.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Interval between two reads of the process table.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Runs the measuring process in a new directory below `top`, then kills its processes and removes its files.
pub(super) fn measured_within(top: &Path, measure: impl FnOnce(&Path) -> Command) -> Result<()> {
    let directory = tempfile::Builder::new().prefix("bench").tempdir_in(top)?;
    let root = directory.path().canonicalize()?;
    let outcome = run_to_completion(&mut measure(&root));
    end_all(&root)?;
    directory
        .close()
        .with_context(|| format!("cannot remove {}", root.display()))?;
    outcome
}

/// Runs the child until it exits. Forwards a terminating signal to the child, so that the parent can clean up
/// afterwards.
fn run_to_completion(measure: &mut Command) -> Result<()> {
    let (mut signalled, handler) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, handler.try_clone()?)?;
    }
    let mut child = measure
        .spawn()
        .context("cannot start the measuring process")?;
    let pid = Pid::from_raw(child.id().cast_signed());
    std::thread::spawn(move || {
        if signalled.read_exact(&mut [0]).is_ok() {
            // `^C` reaches the child directly: it is in the same foreground process group.
            let _ended_already = kill(pid, Signal::SIGTERM);
        }
    });
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Err(Failed {
        what: format!("the bench failed: {status}"),
        code: code.unwrap_or(1),
    }
    .into())
}

/// Kills the [processes of the directory](processes_of). Repeats this until no process is left, because a process can
/// start others before it exits.
fn end_all(root: &Path) -> Result<()> {
    let deadline = Instant::now() + END_LIMIT;
    loop {
        let found = processes_of(root);
        if found.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            anyhow::bail!("processes {found:?} of {} do not exit", root.display());
        }
        for pid in found {
            let _ended_already = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The processes, except this one, whose environment or arguments contain the directory. Finds no process on a system
/// without `/proc`: there, processes that the bench did not stop itself keep running.
fn processes_of(root: &Path) -> Vec<i32> {
    let name = root.as_os_str().as_bytes();
    let mentions = |pid: i32, file: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        bytes.windows(name.len()).any(|window| window == name)
    };
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = std::process::id().cast_signed();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| mentions(*pid, "environ") || mentions(*pid, "cmdline"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_bench_leaves_nothing() {
        if !Path::new("/proc/self").exists() {
            return;
        }
        let top = tempfile::tempdir().unwrap();
        let mut bystander = Command::new("sleep").arg("600").spawn().unwrap();
        let mut root = None;
        let outcome = measured_within(top.path(), |directory| {
            root = Some(directory.to_owned());
            let mut measure = Command::new("sh");
            // The line starts two processes that outlive the shell, one identified by its arguments and one by its
            // environment. Then the shell interrupts itself.
            let line = "sh -c 'sleep 600; :' $ROOT/x & sleep 601 & touch $ROOT/began; kill -INT $$";
            measure.args(["-c", line]).env("ROOT", directory);
            measure
        });
        assert!(outcome.unwrap_err().is::<Failed>());
        let root = root.unwrap();
        assert_eq!(processes_of(&root), Vec::<i32>::new());
        assert!(!root.exists());
        assert!(
            bystander.try_wait().unwrap().is_none(),
            "the bystander was killed"
        );
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }
}
