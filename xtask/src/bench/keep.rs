//! The directory that a bench measures in, and its end: whatever becomes of the bench, a ^C and a panic included, no
//! process that it started and no file of it is left.
//!
//! The measuring process is a child that may die anyhow; this one outlives it. What belongs to the bench is known by
//! the directory's random name: it is in the environment or the arguments of every process that works there.

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

/// How long processes may take to die of SIGKILL.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Between two looks at the process table.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Runs what measures within a new directory below `top`, and takes everything away that is left of it.
pub(super) fn measured_within(top: &Path, measure: impl FnOnce(&Path) -> Command) -> Result<()> {
    let directory = tempfile::Builder::new().prefix("bench").tempdir_in(top)?;
    let place = directory.path().canonicalize()?;
    let outcome = run_to_its_end(&mut measure(&place));
    end_all(&place)?;
    directory
        .close()
        .with_context(|| format!("cannot remove {}", place.display()))?;
    outcome
}

/// A signal that would end us ends the child instead; then we go on to clean up.
fn run_to_its_end(measure: &mut Command) -> Result<()> {
    let (mut asked, handler) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, handler.try_clone()?)?;
    }
    let mut child = measure
        .spawn()
        .context("cannot start the measuring process")?;
    let pid = Pid::from_raw(child.id().cast_signed());
    std::thread::spawn(move || {
        if asked.read_exact(&mut [0]).is_ok() {
            // Of a ^C it has been told itself.
            let _ended_already = kill(pid, Signal::SIGTERM);
        }
    });
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Err(Failed {
        what: format!("the bench did not end well: {status}"),
        code: code.unwrap_or(1),
    }
    .into())
}

/// Kills every process that names the directory. What they start meanwhile is killed too.
fn end_all(place: &Path) -> Result<()> {
    let deadline = Instant::now() + END_LIMIT;
    loop {
        let found = processes_of(place);
        if found.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            anyhow::bail!("processes {found:?} of {} do not exit", place.display());
        }
        for pid in found {
            let _ended_already = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Without `/proc` they are not found, and what the bench did not end itself stays.
fn processes_of(place: &Path) -> Vec<i32> {
    let name = place.as_os_str().as_bytes();
    let names = |pid: i32, file: &str| {
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
        .filter(|pid| names(*pid, "environ") || names(*pid, "cmdline"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_what_was_interrupted() {
        if !Path::new("/proc/self").exists() {
            return;
        }
        let top = tempfile::tempdir().unwrap();
        let mut bystander = Command::new("sleep").arg("600").spawn().unwrap();
        let mut place = None;
        let outcome = measured_within(top.path(), |directory| {
            place = Some(directory.to_owned());
            let mut measure = Command::new("sh");
            // Two that outlive it, one by its arguments and one by its environment; then an interrupt.
            let line =
                "sh -c 'sleep 600; :' $PLACE/x & sleep 601 & touch $PLACE/began; kill -INT $$";
            measure.args(["-c", line]).env("PLACE", directory);
            measure
        });
        assert!(outcome.unwrap_err().is::<Failed>());
        let place = place.unwrap();
        assert_eq!(processes_of(&place), Vec::<i32>::new());
        assert!(!place.exists());
        assert!(bystander.try_wait().unwrap().is_none(), "it lives");
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }
}
