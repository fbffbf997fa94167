//! Programs that are held to a [`Profile`]. Called by the teammate for what its agent runs, and by `doctor`.
//!
//! A profile says what a program may write, what it must not see, and whether it has the network. A [`Sandbox`] is a
//! way to hold it to that; [`find`] gives the best one that was *tried* here and held, never one that is only
//! installed:
//!
//! | | |
//! |---|---|
//! | bubblewrap | a view of the files, process ids and network of its own. The whole profile holds |
//! | Landlock | the kernel refuses instead of hiding. It cannot take back below a directory what it gave there, so `protected` and `absent` do not hold; it does not know of modes, owners and times, which can be changed everywhere; there are no pseudo-terminals; before Linux 6.12 other processes can be signalled |
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
use std::time::Duration;

use tokio::time::timeout;

use crate::limits::Limits;
use crate::os;
use crate::process::Signal;
use crate::spawn::{Child, ProgramSpec};

pub use os::Sandbox;
pub use placeholder::{Absent, AbsentPaths, Placeholders};

use trial::Trial;

mod placeholder;
#[cfg(any(test, target_os = "macos"))]
pub(crate) mod seatbelt;
#[cfg(test)]
mod tests;
mod trial;

/// How long a sandbox may take to show that it holds. It needs some 10 ms.
const TRIAL_LIMIT: Duration = Duration::from_secs(5);

/// What a program may do beyond computing, and reading what its user may. Paths are absolute and resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Files and directories, with all that is below, that may be changed. They are there.
    pub writable: Vec<PathBuf>,
    /// What of it may not. It is there.
    pub protected: Vec<PathBuf>,
    /// What of it must not come to be while the program runs.
    pub absent: Option<AbsentPaths>,
    /// What cannot be read either, and seems to be empty. A place within it that is `writable` still is.
    pub hidden: Vec<PathBuf>,
    /// What of `hidden` can be read after all.
    pub readable: Vec<PathBuf>,
    /// Symbolic links within `hidden`, and their targets.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Directories that are hidden. Under bubblewrap the program has empty ones in their place, to write to.
    pub scratch: Vec<PathBuf>,
    /// Files of which the program sees another content, where a sandbox can do that.
    pub replaced: Vec<(PathBuf, Vec<u8>)>,
    pub network: Network,
    pub limits: Limits,
    /// The directory of a [control group](crate::cgroup::Group) that the program runs in.
    pub group: Option<PathBuf>,
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
    /// tokio runtime, and not on its thread: it reads directories and may wait. The placeholders are dropped when the program and all that it started has ended.
    ///
    /// # Errors
    /// Also when a writable place does not exist, or the kernel refuses to hold the program to the profile: it does not
    /// run then.
    pub fn spawn(
        &self,
        profile: &Profile,
        spec: &ProgramSpec,
        [input, output, errors]: [OwnedFd; 3],
    ) -> io::Result<(Child, Option<Placeholders>)> {
        let absent = profile
            .absent
            .as_ref()
            .filter(|_| self.needs_placeholders());
        let placeholders = absent.map(Placeholders::make).transpose()?;
        let lock = placeholders.as_ref().map(Placeholders::lock).transpose()?;
        let mut command = self.command(profile, spec, lock.flatten())?;
        let child = Child::start(command.stdin(input).stdout(output).stderr(errors))?;
        Ok((child, placeholders))
    }

    /// Sees for itself that writing inside works, and that writing outside and reading what is hidden do not.
    async fn try_out(&self, path: &OsStr) -> io::Result<()> {
        let trial = Trial::new()?;
        let profile = Profile {
            writable: vec![trial.inside()],
            protected: Vec::new(),
            absent: None,
            hidden: vec![trial.hidden()],
            readable: Vec::new(),
            links: Vec::new(),
            scratch: vec![trial.scratch()],
            replaced: Vec::new(),
            network: Network::None,
            limits: Limits {
                scratch_bytes: Some(1 << 20),
                ..Limits::default()
            },
            group: None,
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
        let (mut child, _) = self.spawn(&profile, &spec, stdio)?;
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

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
