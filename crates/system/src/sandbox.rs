//! Runs programs in a sandbox. Called by the workers for the commands of their agents, and by the verbs `doctor`,
//! `mode` and `rules`, which only look for a sandbox.
//!
//! A [`Profile`] lists the paths that a program may write, the paths that are hidden from it, and whether it has
//! network access. A [`Sandbox`] is a mechanism that enforces the profile. [`find`] returns the best mechanism that
//! passed a trial on this machine; an installed program alone is not enough. The mechanisms:
//!
//! | | |
//! |---|---|
//! | bubblewrap | separate views of files, process ids and network. Enforces the whole profile |
//! | Landlock | the kernel refuses access instead of hiding files. A right that is granted for a directory cannot be revoked below it, so `protected` and `absent` are not enforced; modes, owners and times of files are not covered and can be changed everywhere; pseudo-terminals are not available; before Linux 6.12 other processes can be signalled |
//! | sandbox-exec | macOS; written from the documentation, never tried on a Mac |
//!
//! On Linux both mechanisms also refuse these system calls:
//! - Unix sockets (tmux, ssh-agent, D-Bus, the supervisor), except connected pairs of stream and seqpacket sockets;
//! - reading the memory of other processes, and changing the kernel, for example with `bpf`;
//! - `io_uring`, through which a program could make system calls that the filter does not see;
//! - new namespaces and mounts.
//!
//! Each program runs in its own session, so that it cannot type into a terminal.
//!
//! Inherited descriptors and variables are not checked: the caller must pass only those that the program may have.

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

/// Limit of one trial, which usually takes about 10 ms.
const TRIAL_LIMIT: Duration = Duration::from_secs(5);

/// The permissions of a program, in addition to reading the files that its user may read. Paths are absolute and
/// resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Files and directories, with everything below them, that may be changed. They must exist.
    pub writable: Vec<PathBuf>,
    /// Exceptions from `writable`, which are read-only. They must exist.
    pub protected: Vec<PathBuf>,
    /// Paths within `writable` that must not be created while the program runs.
    pub absent: Option<AbsentPaths>,
    /// Paths that cannot be read and appear empty. A `writable` path within a hidden path stays writable.
    pub hidden: Vec<PathBuf>,
    /// Exceptions from `hidden`, which are readable.
    pub readable: Vec<PathBuf>,
    /// Symbolic links within `hidden`, and their targets. Under bubblewrap the program still sees these links.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Hidden directories. Under bubblewrap the program gets empty writable directories in their place.
    pub scratch: Vec<PathBuf>,
    /// Files that the program sees with another content, if the sandbox supports it.
    pub replaced: Vec<(PathBuf, Vec<u8>)>,
    pub network: Network,
    pub limits: Limits,
    /// The directory of a [control group](crate::cgroup::Group) that the program runs in.
    pub group: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// No network; under bubblewrap a separate loopback interface.
    None,
    /// The network of this machine.
    Host,
}

/// No mechanism passed its trial. Lists each mechanism, best first, with its error.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.tried.iter().map(|(sandbox, why)| format!("{sandbox}: {why}")).collect::<Vec<_>>().join("; "))]
pub struct NoSandbox {
    pub tried: Vec<(Sandbox, io::Error)>,
}

impl Sandbox {
    /// Starts a program in its own session, with these descriptors as its stdin, stdout and stderr. Must be called
    /// within a tokio runtime, but on a blocking thread: this function reads directories and may wait. Drop the
    /// placeholders when the program and all processes that it started have exited.
    ///
    /// # Errors
    /// The program or the sandbox cannot be started, a placeholder cannot be created, or the kernel cannot enforce the
    /// profile. A missing writable path is an error of this call, or makes the sandbox exit with an error before it
    /// runs the program.
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

    /// Runs a trial: a program must be able to write inside its directory, and unable to write outside or to read a
    /// hidden file.
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
            return Err(io::Error::other("the trial did not end in time"));
        };
        let (status, stderr) = (status?, fs::read_to_string(errors)?);
        match (status.success(), stderr.lines().next()) {
            (true, _) => trial.check(),
            (false, Some(line)) => Err(io::Error::other(line.to_owned())),
            (false, None) => Err(io::Error::other(status.to_string())),
        }
    }
}

/// The best sandbox that works on this machine. Looks for `bwrap` in `path`, a value of `PATH`. Takes about 10 ms. Must
/// be called within a tokio runtime.
///
/// # Errors
/// When no mechanism works; contains the error of each.
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

/// The script of a trial. It fails if the sandbox refuses a permitted write or allows a forbidden access.
const TRIAL: &str = r#"
printf x > "$1/inside/made" || exit
(printf x > "$1/outside/made") 2>/dev/null && { echo "the trial could write outside its directory" >&2; exit 1; }
(read -r line < "$1/hidden/file") 2>/dev/null && { echo "the trial could read a hidden file" >&2; exit 1; }
exit 0
"#;

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
