//! One program, run for a call, with everything that it starts. Called by `bash` and the tools of git.
//!
//! ```text
//! start ── session of its own, stdout and stderr in one pipe
//!   └── printed… ── exit ──► end: whatever is left is killed, the rest of the output read
//!         ├── stop: TERM to all ── 1 s ── end
//!         └── dropped: KILL to all
//! ```
//! What a call started is known by descent, by its session, and by a mark in the environment that tells it from what
//! the member's other calls started. What clears its environment, begins a session and outlives its parent escapes the
//! call; the launch's marker, if it has that, still ends it with the member.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_system::process::{ExitWatch, ProcessId, Signal};
use agent_team_system::spawn::{Child, ProgramSpec, spawn_session, spawn_session_with};
use agent_team_system::tree::Tree;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::{Instant, timeout_at};

use super::confine::{Exceeded, Held, LOOK, Run, Watch};
use super::unique;

/// Names the call to what runs for it.
const CALL_MARKER: &str = "AGENT_TEAM_CALL";

/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(1);

/// How long a killed process may take to be gone: longer only in uninterruptible sleep.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How long the rest of the output is waited for when nobody is left to add to it but what escaped.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// Looks in a row that must find nothing: a look is not a snapshot.
const EMPTY_LOOKS: u32 = 2;

/// Rounds after which whatever forks faster than we look is left alone by [`Below::signal`].
const KILL_ROUNDS: u32 = 16;

/// Read at once, at most.
const READ_BYTES: usize = 16 << 10;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Exited(ExitStatus),
    TimedOut(Duration),
    /// It used more than a limit of the sandbox.
    Exceeded(Exceeded),
    Stopped,
}

/// A running program. Dropping it kills everything that it started.
#[derive(Debug)]
pub(crate) struct Program {
    /// `None` once it was ended.
    running: Option<Running>,
    output: pipe::Receiver,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    below: Below,
    /// `None` outside the sandbox.
    run: Option<Run>,
}

/// What a program does next.
#[derive(Debug)]
enum Event<'a> {
    Printed(&'a [u8]),
    Exited(ExitStatus),
}

/// A program in one of the directories of `path`, leaving out those that are relative or within the project: members
/// write there.
pub(super) fn find_outside(project: &Path, path: &OsStr, name: &str) -> Option<PathBuf> {
    let outside = |directory: &PathBuf| {
        let real = directory.canonicalize();
        directory.is_absolute() && real.is_ok_and(|real| !real.starts_with(project))
    };
    let programs = std::env::split_paths(path)
        .filter(outside)
        .map(|directory| directory.join(name));
    // A link there may lead into the project.
    programs
        .filter(|program| {
            program
                .canonicalize()
                .is_ok_and(|real| !real.starts_with(project))
        })
        .find(|program| program.is_file())
}

impl Program {
    /// Must be called within a tokio runtime. When this is cancelled, the program is ended.
    pub(crate) async fn start(
        held: Option<Held>,
        program: PathBuf,
        args: Vec<OsString>,
        env: Vec<(OsString, OsString)>,
        cwd: PathBuf,
    ) -> io::Result<Program> {
        let Some(held) = held else {
            return Self::start_with(program, args, env, cwd, |spec, output| {
                spawn_session(spec, Some(File::from(output)))
            });
        };
        let start = move || {
            let mut run = None;
            let mut program = Self::start_with(program, args, env, cwd, |spec, output| {
                let (child, of_child) = held.spawn(spec, output)?;
                run = Some(of_child);
                Ok(child)
            })?;
            if let Some(running) = &mut program.running {
                running.below.is_wrapped = held.is_wrapped();
                running.run = run;
            }
            Ok(program)
        };
        let started = tokio::task::spawn_blocking(start).await;
        started.map_err(io::Error::other).flatten()
    }

    /// The same, held by nothing, with its stdin and its stdout for whoever talks to it; its output is its stderr then.
    pub(super) fn start_talking(
        program: PathBuf,
        args: Vec<OsString>,
        env: Vec<(OsString, OsString)>,
        cwd: PathBuf,
    ) -> io::Result<(Program, pipe::Sender, pipe::Receiver)> {
        let (input, said_to) = io::pipe()?;
        let (said, output) = io::pipe()?;
        let said_to = pipe::Sender::from_owned_fd(said_to.into())?;
        let said = pipe::Receiver::from_owned_fd(said.into())?;
        let program = Self::start_with(program, args, env, cwd, |spec, errors| {
            spawn_session_with(spec, [input.into(), output.into(), errors])
        })?;
        Ok((program, said_to, said))
    }

    fn start_with(
        program: PathBuf,
        args: Vec<OsString>,
        mut env: Vec<(OsString, OsString)>,
        cwd: PathBuf,
        spawn: impl FnOnce(&ProgramSpec, OwnedFd) -> io::Result<Child>,
    ) -> io::Result<Program> {
        let call = unique()?;
        let launch = env.iter().find(|(name, _)| name == LAUNCH_MARKER);
        let launch = launch.and_then(|(_, value)| value.to_str().map(str::to_owned));
        env.retain(|(name, _)| name != CALL_MARKER);
        env.push((CALL_MARKER.into(), (&call).into()));
        let (output, printed_to) = io::pipe()?;
        let output = pipe::Receiver::from_owned_fd(output.into())?;
        let spec = ProgramSpec {
            program,
            args,
            env,
            cwd,
        };
        let child = spawn(&spec, printed_to.into())?;
        let below = Below {
            leader: child.process,
            is_wrapped: false,
            launch: launch.unwrap_or_default(),
            mark: format!("{CALL_MARKER}={call}"),
        };
        Ok(Program {
            running: Some(Running {
                child,
                below,
                run: None,
            }),
            output,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Follows it to its end and ends what it leaves behind. `stop` ends it before, as `limit` does. What the sandbox
    /// reports is printed last.
    ///
    /// # Errors
    /// When the system does not say how it goes on; it is ended then.
    pub(crate) async fn finish(
        &mut self,
        limit: Option<Duration>,
        stop: impl Future<Output = ()>,
        mut tell: impl FnMut(&[u8]),
    ) -> io::Result<Ended> {
        let running = self.running.as_ref();
        let leader = running.map(|running| running.below.leader);
        let mut watch = running.and_then(|running| Some(running.run.as_ref()?.watch()));
        let exceeded = exceeded(watch.clone(), leader);
        let mut line_is_open = false;
        let mut printed = |bytes: &[u8]| {
            line_is_open = !bytes.ends_with(b"\n");
            if let Some(watch) = &mut watch {
                watch.read(bytes);
            }
            tell(bytes);
        };
        let exited = async {
            loop {
                match self.next().await? {
                    Event::Printed(bytes) => printed(bytes),
                    Event::Exited(status) => return Ok(Ended::Exited(status)),
                }
            }
        };
        let ended = tokio::select! {
            ended = exited => ended,
            limit = after(limit) => Ok(Ended::TimedOut(limit)),
            exceeded = exceeded => Ok(Ended::Exceeded(exceeded)),
            () = stop => Ok(Ended::Stopped),
        };
        if matches!(ended, Ok(Ended::TimedOut(_) | Ended::Stopped)) {
            self.stop(&mut printed).await;
        }
        let report = self.end(&mut printed).await;
        let hint = match &ended {
            Ok(Ended::Exited(status)) => watch.and_then(|watch| watch.hint(*status)),
            Ok(Ended::TimedOut(_) | Ended::Exceeded(_) | Ended::Stopped) | Err(_) => None,
        };
        let before = if line_is_open { "\n" } else { "" };
        for (index, text) in report.into_iter().chain(hint).enumerate() {
            let before = if index == 0 { before } else { "" };
            tell(format!("{before}{text}\n").as_bytes());
        }
        ended
    }

    /// What it prints next, or that it has exited. After that only [`Program::end`] is of use. Safe to cancel.
    async fn next(&mut self) -> io::Result<Event<'_>> {
        let Some(running) = &mut self.running else {
            return Err(io::Error::other("it was ended"));
        };
        // A pipe that everybody has closed is no end: the program may go on.
        let mut open = true;
        loop {
            tokio::select! {
                read = self.output.read(&mut self.buffer), if open => match read? {
                    0 => open = false,
                    read => return Ok(Event::Printed(&self.buffer[..read])),
                },
                status = running.child.wait() => return Ok(Event::Exited(status?)),
            }
        }
    }

    /// Asks everything to end, and waits a moment for the program to do so. [`Program::end`] must follow.
    async fn stop(&mut self, mut printed: impl FnMut(&[u8])) {
        let Some(running) = &self.running else {
            return;
        };
        let asked = running.below.signal(Signal::SIGTERM);
        if let Err(error) = asked {
            tracing::warn!(%error, "the processes of a call cannot be listed");
        }
        let deadline = Instant::now() + GRACE;
        while let Ok(Ok(Event::Printed(bytes))) = timeout_at(deadline, self.next()).await {
            printed(bytes);
        }
    }

    /// Kills whatever is left of it, and hands on what was printed last. Returns what the sandbox reports.
    async fn end(&mut self, mut printed: impl FnMut(&[u8])) -> Option<String> {
        let running = self.running.as_mut()?;
        // A full pipe must not keep what is ended from ending.
        let mut ended = Box::pin(running.below.end());
        let mut open = true;
        loop {
            tokio::select! {
                () = &mut ended => break,
                read = self.output.read(&mut self.buffer), if open => match read {
                    Ok(read @ 1..) => printed(&self.buffer[..read]),
                    Ok(0) | Err(_) => open = false,
                },
            }
        }
        drop(ended);
        if let Err(error) = tokio::time::timeout(KILL_LIMIT, running.child.wait()).await {
            tracing::warn!(%error, process = ?running.child.process, "a killed process does not end");
        }
        let run = running.run.take();
        self.running = None;
        let deadline = Instant::now() + DRAIN_LIMIT;
        while let Ok(Ok(read @ 1..)) =
            timeout_at(deadline, self.output.read(&mut self.buffer)).await
        {
            printed(&self.buffer[..read]);
        }
        let finished = tokio::task::spawn_blocking(move || run?.finish());
        finished.await.ok().flatten()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        // At once: whoever drops us may be about to exit.
        if let Err(error) = running.below.signal(Signal::SIGKILL) {
            tracing::warn!(%error, "the processes of a dropped call cannot be listed");
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            running.below.end().await;
            // Reaps it.
            let _status = tokio::time::timeout(KILL_LIMIT, running.child.wait()).await;
            let run = running.run.take();
            tokio::task::spawn_blocking(move || run?.finish());
        });
    }
}

/// What a call started.
#[derive(Clone, Debug)]
struct Below {
    leader: ProcessId,
    /// The leader is the sandbox's program, at whose end nothing within has a moment left.
    is_wrapped: bool,
    /// The launch's marker; empty when there is none.
    launch: String,
    /// `NAME=value`, in the environment of what the call started.
    mark: String,
}

impl Below {
    /// Reads the process table twice, and the environment of what belongs to this launch.
    fn survivors(&self) -> io::Result<Vec<ProcessId>> {
        let tree = Tree {
            root: Some(self.leader),
            sessions: vec![self.leader],
            marker: String::new(),
        };
        let below = tree.survivors()?;
        if self.launch.is_empty() {
            return Ok(below);
        }
        let launch = Tree {
            marker: self.launch.clone(),
            ..tree
        };
        let mut all = launch.survivors()?;
        all.retain(|process| below.contains(process) || self.is_marked(process.pid));
        Ok(all)
    }

    /// Where there is no `/proc`, only descent and session count.
    fn is_marked(&self, pid: u32) -> bool {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
            environment
                .split(|&byte| byte == 0)
                .any(|variable| variable == self.mark.as_bytes())
        })
    }

    /// Signals each process once, also those that are forked meanwhile.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        let mut signalled: Vec<ProcessId> = Vec::new();
        if self.is_wrapped && signal != Signal::SIGKILL {
            signalled.push(self.leader);
        }
        for _ in 0..KILL_ROUNDS {
            let mut survivors = self.survivors()?;
            survivors.retain(|process| !signalled.contains(process));
            if survivors.is_empty() {
                break;
            }
            for process in survivors {
                // What cannot be signalled shows in that it survives.
                let _sent = process.signal(signal);
                signalled.push(process);
            }
        }
        Ok(())
    }

    /// Kills until nothing is left, or until what is left does not end.
    async fn end(&self) {
        let deadline = Instant::now() + KILL_LIMIT;
        let mut empty_looks = 0;
        while empty_looks < EMPTY_LOOKS {
            let below = self.clone();
            let look = tokio::task::spawn_blocking(move || below.survivors()).await;
            let survivors = match look.map_err(io::Error::other).flatten() {
                Ok(survivors) => survivors,
                Err(error) => {
                    tracing::warn!(%error, "the processes of a call cannot be listed");
                    return;
                }
            };
            if survivors.is_empty() {
                empty_looks += 1;
                continue;
            }
            empty_looks = 0;
            for &process in &survivors {
                let _sent = process.signal(Signal::SIGKILL);
            }
            for process in survivors {
                let Ok(Some(mut watch)) = ExitWatch::open(process) else {
                    continue;
                };
                if timeout_at(deadline, watch.exited()).await.is_err() {
                    tracing::warn!(?process, "a killed process of a call does not end");
                    return;
                }
            }
        }
    }
}

/// The limit that a command exceeds while it runs.
async fn exceeded(watch: Option<Watch>, leader: Option<ProcessId>) -> Exceeded {
    let (Some(watch), Some(leader)) = (watch, leader) else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(LOOK).await;
        let watch = watch.clone();
        let look = tokio::task::spawn_blocking(move || watch.look(leader)).await;
        match look.map_err(io::Error::other).flatten() {
            Ok(Some(exceeded)) => return exceeded,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "cannot read what a command uses"),
        }
    }
}

async fn after(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Exited(status) => f.write_str(&describe(*status)),
            Ended::TimedOut(limit) => write!(
                f,
                "not done after {} s: it was ended, with all that it had started",
                limit.as_secs()
            ),
            Ended::Exceeded(exceeded) => {
                write!(f, "ended, with all that it had started: {exceeded}")
            }
            Ended::Stopped => f.write_str("ended, with all that it had started"),
        }
    }
}

/// `exit 1`, or the signal that ended it.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}
