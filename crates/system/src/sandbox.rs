//! Programs that are held to a [`Profile`]. Called by the teammate for what its agent runs, and by `doctor`.
//!
//! A profile says what a program may write, what it must not see, and whether it has the network. A [`Sandbox`] is a
//! way to hold it to that; [`find`] gives the best one that was *tried* here and held, never one that is only
//! installed:
//!
//! | | |
//! |---|---|
//! | bubblewrap | a view of the files, process ids and network of its own. The whole profile holds |
//! | Landlock | the kernel refuses instead of hiding. It cannot take back below a directory what it gave there, so `protected` does not hold; it does not know of modes, owners and times, which can be changed everywhere; there are no pseudo-terminals; before Linux 6.12 other processes can be signalled |
//! | sandbox-exec | macOS, from its documentation: never run by us |
//!
//! On Linux both also refuse these system calls:
//! - Unix sockets (tmux, ssh-agent, D-Bus, our own supervisor), but for connected pairs of stream and seqpacket sockets;
//! - reading the memory of other processes;
//! - `io_uring`, which makes other system calls past the filter;
//! - new namespaces and mounts.
//!
//! A session of its own keeps a program from typing into a terminal.
//!
//! What a program inherits is not looked at: whoever calls passes no descriptor and no variable that it must not have.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use crate::os;
use crate::process::Signal;
use crate::spawn::{Child, ProgramSpec};

pub use os::Sandbox;

#[cfg(any(test, target_os = "macos"))]
pub(crate) mod seatbelt;
#[cfg(test)]
mod tests;

/// How long a sandbox may take to show that it holds. It needs some 10 ms.
const TRIAL_LIMIT: Duration = Duration::from_secs(5);

/// What a program may do beyond computing, and reading what its user may. Paths are absolute and resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Files and directories, with all that is below, that may be changed. They are there.
    pub writable: Vec<PathBuf>,
    /// What of it may not. What is not there is not kept from being made.
    pub protected: Vec<PathBuf>,
    /// What cannot be read either, and seems to be empty. A place within it that is `writable` still is.
    pub hidden: Vec<PathBuf>,
    /// What of `hidden` can be read after all.
    pub readable: Vec<PathBuf>,
    /// Symbolic links within `hidden`, and their targets.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Directories that are hidden. Under bubblewrap the program has empty ones in their place, to write to.
    pub scratch: Vec<PathBuf>,
    pub network: Network,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// None; under bubblewrap a loopback of its own.
    None,
    /// What this machine has.
    Host,
}

/// Why there is no sandbox: what was tried, best first, and how it failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.tried.iter().map(|(sandbox, why)| format!("{sandbox}: {why}")).collect::<Vec<_>>().join("; "))]
pub struct NoSandbox {
    pub tried: Vec<(Sandbox, io::Error)>,
}

impl Sandbox {
    /// Starts a program in a session of its own, with these as its stdin, stdout and stderr. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// Also when a writable place is not there, or the kernel refuses to hold the program to the profile: it does not
    /// run then.
    pub fn spawn(
        &self,
        profile: &Profile,
        spec: &ProgramSpec,
        [input, output, errors]: [OwnedFd; 3],
    ) -> io::Result<Child> {
        let mut command = self.command(profile, spec)?;
        Child::start(command.stdin(input).stdout(output).stderr(errors))
    }

    /// Sees for itself that writing inside works, and that writing outside and reading what is hidden do not.
    async fn try_out(&self, path: &OsStr) -> io::Result<()> {
        let trial = Trial::new()?;
        let profile = Profile {
            writable: vec![trial.inside()],
            protected: Vec::new(),
            hidden: vec![trial.hidden()],
            readable: Vec::new(),
            links: Vec::new(),
            scratch: Vec::new(),
            network: Network::None,
        };
        let spec = ProgramSpec {
            program: "/bin/sh".into(),
            args: vec![
                "-c".into(),
                TRIAL.into(),
                "sh".into(),
                trial.root.clone().into(),
            ],
            env: vec![("PATH".into(), path.to_owned())],
            cwd: trial.inside(),
        };
        let errors = trial.root.join("errors");
        let null = || File::options().read(true).write(true).open("/dev/null");
        let stdio = [
            null()?.into(),
            null()?.into(),
            File::create(&errors)?.into(),
        ];
        let mut child = self.spawn(&profile, &spec, stdio)?;
        let Ok(status) = timeout(TRIAL_LIMIT, child.wait()).await else {
            child.signal(Signal::SIGKILL)?;
            child.wait().await?;
            return Err(io::Error::other("it does not end"));
        };
        let (status, said) = (status?, fs::read_to_string(errors)?);
        match (status.success(), said.lines().next()) {
            (true, _) => trial.held(),
            (false, Some(said)) => Err(io::Error::other(said.to_owned())),
            (false, None) => Err(io::Error::other(status.to_string())),
        }
    }
}

/// The best sandbox of this machine. `path` is the `PATH` in which its programs are looked for. Takes some 10 ms. Must
/// be called within a tokio runtime.
///
/// # Errors
/// Says of each that was tried why it is none.
pub async fn find(path: &OsStr) -> Result<Sandbox, NoSandbox> {
    let mut tried = Vec::new();
    for sandbox in Sandbox::all(path) {
        match sandbox.try_out(path).await {
            Ok(()) => return Ok(sandbox),
            Err(error) => tried.push((sandbox, error)),
        }
    }
    Err(NoSandbox { tried })
}

/// Fails, too, when it can do what it must not.
const TRIAL: &str = r#"
printf x > "$1/inside/made" || exit
(printf x > "$1/outside/made") 2>/dev/null && { echo "it writes outside" >&2; exit 1; }
(read -r line < "$1/hidden/file") 2>/dev/null && { echo "it reads what is hidden" >&2; exit 1; }
exit 0
"#;

/// Places to try a sandbox on; dropped with what is in them.
struct Trial {
    root: PathBuf,
}

impl Trial {
    fn new() -> io::Result<Trial> {
        // Several members share a process, and try at the same moment.
        static TRIALS: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "agent-team-trial-{}-{}-{}",
            std::process::id(),
            os::monotonic_ms(),
            TRIALS.fetch_add(1, Ordering::Relaxed)
        );
        let root = fs::canonicalize(std::env::temp_dir())?.join(name);
        let trial = Trial { root };
        // Fails when somebody made it before us.
        fs::create_dir(&trial.root)?;
        for place in [trial.inside(), trial.outside(), trial.hidden()] {
            fs::create_dir(place)?;
        }
        fs::write(trial.hidden().join("file"), "secret\n")?;
        Ok(trial)
    }

    fn inside(&self) -> PathBuf {
        self.root.join("inside")
    }

    fn outside(&self) -> PathBuf {
        self.root.join("outside")
    }

    fn hidden(&self) -> PathBuf {
        self.root.join("hidden")
    }

    /// What it did is what can be seen from here.
    fn held(&self) -> io::Result<()> {
        let made = |place: PathBuf| place.join("made").try_exists();
        match (made(self.inside())?, made(self.outside())?) {
            (true, false) => Ok(()),
            (false, _) => Err(io::Error::other("what it writes inside is not there")),
            (true, true) => Err(io::Error::other("it writes outside")),
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // Of no importance to anybody: it is in the temporary directory, under a name of its own.
        let _removed = fs::remove_dir_all(&self.root);
    }
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
