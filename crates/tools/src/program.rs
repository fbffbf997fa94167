//! Runs one program for a call and terminates everything that it starts. Called by `bash`, the git tools, MCP
//! connections, and the worker for `verify` lines, for hooks and for `agent-team` verbs that the user types.
//!
//! ```text
//! start ── own session, stdout and stderr in one pipe
//!   └── output … ── exit ──► end: kill all remaining processes, read the rest of the output
//!         ├── stop or timeout: TERM to all ── 1 s ── end
//!         ├── limit of the sandbox exceeded: end
//!         └── dropped: KILL to all
//! ```
//! The processes of a call are found by descent, by session, and by a marker in the environment that is unique to the
//! call. A process that removes this marker, starts a session and outlives its parent escapes the call; the supervisor
//! still terminates it with the member if it keeps the launch's marker.

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
use agent_team_system::random;
use agent_team_system::spawn::{Child, ProgramSpec, spawn_session, spawn_session_with};
use agent_team_system::tree::Tree;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::{Instant, timeout_at};

use crate::confine::{ActiveSandbox, CHECK_INTERVAL, Exceeded, SandboxRun, Watch};

/// The environment variable that marks the processes of a call.
const CALL_MARKER: &str = "AGENT_TEAM_CALL";

/// The time between TERM and KILL.
const GRACE: Duration = Duration::from_secs(1);

/// The time after which a killed process that has not exited is reported: such a process is in uninterruptible sleep.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// The time limit for reading the rest of the output after all known processes have exited. An escaped process can keep
/// the pipe open.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// The number of consecutive scans that must find no process: a scan of the process table is not atomic.
const EMPTY_SCANS: u32 = 2;

/// The largest number of rounds of [`Descendants::signal`], for processes that fork faster than they are found.
const KILL_ROUNDS: u32 = 16;

/// The largest read, in bytes.
const READ_BYTES: usize = 16 << 10;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramEnd {
    Exited(ExitStatus),
    TimedOut(Duration),
    /// The program exceeded a limit of the sandbox.
    Exceeded(Exceeded),
    Stopped,
}

/// A running program. Dropping it kills all processes that it started.
#[derive(Debug)]
pub struct Program {
    /// `None` after the program has ended.
    running: Option<Running>,
    output: pipe::Receiver,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    descendants: Descendants,
    /// `None` without a sandbox.
    run: Option<SandboxRun>,
}

#[derive(Debug)]
enum ProgramEvent<'a> {
    Printed(&'a [u8]),
    Exited(ExitStatus),
}

/// Whether a directory of `PATH` is absolute and not within the project, where members can write.
pub(super) fn is_outside(project: &Path, directory: &Path) -> bool {
    let real = directory.canonicalize();
    directory.is_absolute() && real.is_ok_and(|real| !real.starts_with(project))
}

/// Finds a program in the directories of `path`. Skips relative directories, and directories within the project, where
/// members can write.
pub fn find_outside(project: &Path, path: &OsStr, name: &str) -> Option<PathBuf> {
    let programs = std::env::split_paths(path)
        .filter(|directory| is_outside(project, directory))
        .map(|directory| directory.join(name));
    // A link in these directories may point into the project.
    programs
        .filter(|program| {
            program
                .canonicalize()
                .is_ok_and(|real| !real.starts_with(project))
        })
        .find(|program| program.is_file())
}

impl Program {
    /// Starts a program. Must be called within a tokio runtime. Cancelling the future terminates the program.
    ///
    /// # Errors
    /// If the sandbox or the program cannot be started.
    pub async fn start(
        sandbox: Option<ActiveSandbox>,
        program: PathBuf,
        args: Vec<OsString>,
        env: Vec<(OsString, OsString)>,
        cwd: PathBuf,
    ) -> io::Result<Program> {
        let Some(sandbox) = sandbox else {
            return Self::start_with(program, args, env, cwd, |spec, output| {
                spawn_session(spec, Some(File::from(output)))
            });
        };
        let start = move || {
            let mut run = None;
            let mut program = Self::start_with(program, args, env, cwd, |spec, output| {
                let (child, of_child) = sandbox.spawn(spec, output)?;
                run = Some(of_child);
                Ok(child)
            })?;
            if let Some(running) = &mut program.running {
                running.descendants.is_wrapped = sandbox.is_wrapped();
                running.run = run;
            }
            Ok(program)
        };
        // If this future is dropped, the blocking task still completes. Its result is then dropped, which kills the
        // program.
        let started = tokio::task::spawn_blocking(start).await;
        started.map_err(io::Error::other).flatten()
    }

    /// Starts a program without a sandbox, with pipes for its stdin and stdout. Only its stderr is the output of the
    /// returned [`Program`].
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start_with_stdio(
        program: PathBuf,
        args: Vec<OsString>,
        env: Vec<(OsString, OsString)>,
        cwd: PathBuf,
    ) -> io::Result<(Program, pipe::Sender, pipe::Receiver)> {
        let (input, stdin) = io::pipe()?;
        let (stdout, output) = io::pipe()?;
        let stdin = pipe::Sender::from_owned_fd(stdin.into())?;
        let stdout = pipe::Receiver::from_owned_fd(stdout.into())?;
        let program = Self::start_with(program, args, env, cwd, |spec, errors| {
            spawn_session_with(spec, [input.into(), output.into(), errors])
        })?;
        Ok((program, stdin, stdout))
    }

    /// The process that was started. `None` after the program has ended.
    pub fn process(&self) -> Option<ProcessId> {
        let running = self.running.as_ref();
        running.map(|running| running.descendants.leader)
    }

    fn start_with(
        program: PathBuf,
        args: Vec<OsString>,
        mut env: Vec<(OsString, OsString)>,
        cwd: PathBuf,
        spawn: impl FnOnce(&ProgramSpec, OwnedFd) -> io::Result<Child>,
    ) -> io::Result<Program> {
        let call = random::id();
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
        let descendants = Descendants {
            leader: child.process,
            is_wrapped: false,
            launch: launch.unwrap_or_default(),
            mark: format!("{CALL_MARKER}={call}"),
        };
        Ok(Program {
            running: Some(Running {
                child,
                descendants,
                run: None,
            }),
            output,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Follows the program until it exits, and terminates the processes that it left behind. `stop`, `limit` and the
    /// limits of the sandbox terminate it early. Reports and hints of the sandbox are appended to the output.
    ///
    /// # Errors
    /// If the output or the exit status of the program cannot be read. The program is then terminated.
    pub async fn finish(
        &mut self,
        limit: Option<Duration>,
        stop: impl Future<Output = ()>,
        mut on_output: impl FnMut(&[u8]),
    ) -> io::Result<ProgramEnd> {
        let running = self.running.as_ref();
        let leader = running.map(|running| running.descendants.leader);
        let mut watch = running.and_then(|running| Some(running.run.as_ref()?.watch()));
        let exceeded = exceeded(watch.clone(), leader);
        let mut line_is_open = false;
        let mut printed = |bytes: &[u8]| {
            line_is_open = !bytes.ends_with(b"\n");
            if let Some(watch) = &mut watch {
                watch.scan(bytes);
            }
            on_output(bytes);
        };
        let exited = async {
            loop {
                match self.next().await? {
                    ProgramEvent::Printed(bytes) => printed(bytes),
                    ProgramEvent::Exited(status) => return Ok(ProgramEnd::Exited(status)),
                }
            }
        };
        let ended = tokio::select! {
            ended = exited => ended,
            limit = after(limit) => Ok(ProgramEnd::TimedOut(limit)),
            exceeded = exceeded => Ok(ProgramEnd::Exceeded(exceeded)),
            () = stop => Ok(ProgramEnd::Stopped),
        };
        if matches!(ended, Ok(ProgramEnd::TimedOut(_) | ProgramEnd::Stopped)) {
            self.stop(&mut printed).await;
        }
        let report = self.end(&mut printed).await;
        let hint = match &ended {
            Ok(ProgramEnd::Exited(status)) => watch.and_then(|watch| watch.hint(*status)),
            Ok(ProgramEnd::TimedOut(_) | ProgramEnd::Exceeded(_) | ProgramEnd::Stopped)
            | Err(_) => None,
        };
        let before = if line_is_open { "\n" } else { "" };
        for (index, text) in report.into_iter().chain(hint).enumerate() {
            let before = if index == 0 { before } else { "" };
            on_output(format!("{before}{text}\n").as_bytes());
        }
        ended
    }

    /// Returns the next output or the exit status. After the exit, only [`Program::end`] may be called. Cancel-safe.
    async fn next(&mut self) -> io::Result<ProgramEvent<'_>> {
        let Some(running) = &mut self.running else {
            return Err(io::Error::other("the program has been terminated"));
        };
        // The pipe may be closed while the program is running.
        let mut open = true;
        loop {
            tokio::select! {
                read = self.output.read(&mut self.buffer), if open => match read? {
                    0 => open = false,
                    read => return Ok(ProgramEvent::Printed(&self.buffer[..read])),
                },
                status = running.child.wait() => return Ok(ProgramEvent::Exited(status?)),
            }
        }
    }

    /// Sends TERM to all processes and waits briefly for the program to exit. [`Program::end`] must follow.
    async fn stop(&mut self, mut printed: impl FnMut(&[u8])) {
        let Some(running) = &self.running else {
            return;
        };
        let signalled = running.descendants.signal(Signal::SIGTERM);
        if let Err(error) = signalled {
            tracing::warn!(%error, "cannot list the processes of a call");
        }
        let deadline = Instant::now() + GRACE;
        while let Ok(Ok(ProgramEvent::Printed(bytes))) = timeout_at(deadline, self.next()).await {
            printed(bytes);
        }
    }

    /// Kills all remaining processes and passes the last output to `printed`. Returns the sandbox's report of changed
    /// protected files.
    async fn end(&mut self, mut printed: impl FnMut(&[u8])) -> Option<String> {
        let running = self.running.as_mut()?;
        // Keep reading while killing: a process that is blocked on a full pipe must be able to finish.
        let mut ended = Box::pin(running.descendants.end());
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
            tracing::warn!(%error, process = ?running.child.process, "a killed process does not exit");
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
        // Kill immediately, not in the spawned task: the caller may be about to exit.
        if let Err(error) = running.descendants.signal(Signal::SIGKILL) {
            tracing::warn!(%error, "cannot list the processes of a dropped call");
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            running.descendants.end().await;
            // Reap the child.
            let _status = tokio::time::timeout(KILL_LIMIT, running.child.wait()).await;
            let run = running.run.take();
            tokio::task::spawn_blocking(move || run?.finish());
        });
    }
}

#[derive(Clone, Debug)]
struct Descendants {
    leader: ProcessId,
    /// Whether the session leader is the sandbox's program. When that program exits, all processes within the sandbox
    /// are killed.
    is_wrapped: bool,
    /// The launch's marker; empty if there is none.
    launch: String,
    /// `NAME=value` in the environment of the call's processes.
    mark: String,
}

impl Descendants {
    /// The processes that are found by descent or session or, if the launch has a marker, by the call's marker.
    fn survivors(&self) -> io::Result<Vec<ProcessId>> {
        let tree = Tree {
            root: Some(self.leader),
            sessions: vec![self.leader],
            marker: String::new(),
        };
        let descendants = tree.survivors()?;
        if self.launch.is_empty() {
            return Ok(descendants);
        }
        // A process can leave the session and outlive its parent. A scan for the launch's marker still finds it, but
        // also finds the processes of the member's other calls, so keep only processes with the call's marker.
        let launch = Tree {
            marker: self.launch.clone(),
            ..tree
        };
        let mut all = launch.survivors()?;
        all.retain(|process| descendants.contains(process) || self.is_marked(process.pid));
        Ok(all)
    }

    /// Whether the process has the call's marker. `false` without `/proc` (macOS): only descent and session identify
    /// the processes there.
    fn is_marked(&self, pid: u32) -> bool {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
            environment
                .split(|&byte| byte == 0)
                .any(|variable| variable == self.mark.as_bytes())
        })
    }

    /// Signals each process once, including processes that are forked meanwhile.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        let mut signalled: Vec<ProcessId> = Vec::new();
        // TERM to the sandbox's program would kill the processes in the sandbox before they can handle their own TERM.
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
                // Ignore the error: `end` looks for survivors.
                let _sent = process.signal(signal);
                signalled.push(process);
            }
        }
        Ok(())
    }

    /// Kills until no process is left. Gives up if a killed process does not exit in time, or if the process table
    /// cannot be read.
    async fn end(&self) {
        let deadline = Instant::now() + KILL_LIMIT;
        let mut empty_scans = 0;
        while empty_scans < EMPTY_SCANS {
            let descendants = self.clone();
            let look = tokio::task::spawn_blocking(move || descendants.survivors()).await;
            let survivors = match look.map_err(io::Error::other).flatten() {
                Ok(survivors) => survivors,
                Err(error) => {
                    tracing::warn!(%error, "cannot list the processes of a call");
                    return;
                }
            };
            if survivors.is_empty() {
                empty_scans += 1;
                continue;
            }
            empty_scans = 0;
            for &process in &survivors {
                let _sent = process.signal(Signal::SIGKILL);
            }
            for process in survivors {
                let Ok(Some(mut watch)) = ExitWatch::open(process) else {
                    continue;
                };
                if timeout_at(deadline, watch.exited()).await.is_err() {
                    tracing::warn!(?process, "a killed process of a call does not exit");
                    return;
                }
            }
        }
    }
}

/// Returns when the command exceeds a limit, with that limit.
async fn exceeded(watch: Option<Watch>, leader: Option<ProcessId>) -> Exceeded {
    let (Some(watch), Some(leader)) = (watch, leader) else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        let watch = watch.clone();
        let look = tokio::task::spawn_blocking(move || watch.check(leader)).await;
        match look.map_err(io::Error::other).flatten() {
            Ok(Some(exceeded)) => return exceeded,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "cannot read the resource usage of a command"),
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

impl std::fmt::Display for ProgramEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ProgramEnd::Exited(status) => f.write_str(&describe_exit(*status)),
            ProgramEnd::TimedOut(limit) => write!(
                f,
                "timed out after {} s: terminated with all its child processes",
                limit.as_secs()
            ),
            ProgramEnd::Exceeded(exceeded) => {
                write!(f, "terminated with all its child processes: {exceeded}")
            }
            ProgramEnd::Stopped => f.write_str("terminated with all its child processes"),
        }
    }
}

/// Describes an exit status: `exit 1` or `killed by signal 9`.
pub fn describe_exit(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}
