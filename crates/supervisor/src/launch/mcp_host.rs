//! Supervises the MCP host, the process that runs a team's shared MCP servers. Called by the launcher's task
//! (`LauncherTask`) and by the driver's handle of the launcher (`Launcher`).
//!
//! ```text
//! listen ─► a member connects ─► host runs ─┬─ host exits ─► its processes are killed ─► backoff ─► (listen)
//!                                           └─ the team goes down ─► the host and its processes are killed
//! ``` The supervisor binds the socket and never accepts: the host inherits the socket as stdin. So a member can
//! connect at any time, and waits while no host runs. The host's stdout is the read end of a pipe, of which the
//! supervisor holds the write end. The host exits when the supervisor closes the write end or dies. The servers are not
//! trusted: none of their output reaches the supervisor.

use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_team_protocol::engine::Engine;
use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_protocol::view::{Receipt, ReceiptKind, ReceiptOutcome};
use agent_team_system::backoff::Backoff;
use agent_team_system::private_file;
use agent_team_system::process::ProcessId;
use agent_team_system::sibling_binary::sibling_binary;
use agent_team_system::socket::{bind_for, has_client};
use agent_team_system::spawn::{Child, ProgramSpec, spawn_session_with};
use agent_team_system::tree::Tree;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::headless;

/// The pauses before the next start of the host.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(30),
};

/// A host that has run this long resets the backoff.
const RESET_AFTER: Duration = Duration::from_secs(60);

/// How long the host may take to end, and after it the processes that it started.
const END_LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct McpHost {
    socket: PathBuf,
    /// `None`: the socket is not bound.
    listening: Option<Listening>,
}

/// Dropping this value ends the host; the host's receipt is lost.
#[derive(Debug)]
struct Listening {
    end: oneshot::Sender<()>,
    ended: oneshot::Receiver<Option<Receipt>>,
}

impl McpHost {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            listening: None,
        }
    }

    /// Binds the socket. Idempotent.
    ///
    /// # Errors
    /// When the socket cannot be bound.
    pub(super) fn listen(&mut self) -> io::Result<()> {
        if self.listening.is_some() {
            return Ok(());
        }
        let listener = bind_for(&self.socket)?;
        let (end, ending) = oneshot::channel();
        let (answer, ended) = oneshot::channel();
        let socket = self.socket.clone();
        tokio::task::spawn_local(async move {
            let receipt = supervise(&socket, &listener, ending).await;
            if let Err(error) = private_file::discard(&socket) {
                tracing::warn!(%error, "cannot remove the socket of the MCP host");
            }
            let _asker_gone = answer.send(receipt);
        });
        self.listening = Some(Listening { end, ended });
        Ok(())
    }

    /// Ends the host and all servers. The host ends when the returned future is first polled or is dropped. The future
    /// returns the host's receipt, or `None` if no host was running.
    pub(super) fn end(&mut self) -> impl Future<Output = Option<Receipt>> + use<> {
        let listening = self.listening.take();
        async move {
            let Listening { end, ended } = listening?;
            let _ended_before = end.send(());
            ended.await.ok().flatten()
        }
    }
}

/// Runs the host whenever a member connects, until `ending` completes. Returns the receipt of the host, or `None` if no
/// host was running.
async fn supervise(
    socket: &Path,
    listener: &OwnedFd,
    mut ending: oneshot::Receiver<()>,
) -> Option<Receipt> {
    // After a crash of the supervisor, processes of its host may be left.
    end_processes(socket, None).await;
    let mut failures = 0;
    loop {
        tokio::select! {
            biased;
            _ = &mut ending => return None,
            waiting = has_client(listener) => {
                if let Err(error) = waiting {
                    tracing::error!(%error, "cannot wait for members on the socket of the MCP host");
                }
            }
        }
        let started = Instant::now();
        match start(socket, listener) {
            Ok((mut host, lifeline)) => {
                let has_exited = tokio::select! {
                    exited = host.wait() => {
                        tracing::warn!(?exited, "the MCP host has exited");
                        true
                    }
                    _ = &mut ending => false,
                };
                drop(lifeline);
                if !has_exited {
                    // A host that does not exit in time is killed with its servers.
                    let _exited = tokio::time::timeout(END_LIMIT, host.wait()).await;
                }
                let outcome = end_processes(socket, Some(host.process)).await;
                // Reap a killed host.
                let _reaped = tokio::time::timeout(END_LIMIT, host.wait()).await;
                if !has_exited {
                    return Some(Receipt {
                        kind: ReceiptKind::Process,
                        what: format!("{} (MCP host)", host.process.pid),
                        outcome,
                    });
                }
            }
            Err(error) => tracing::error!(%error, "cannot start the MCP host"),
        }
        if started.elapsed() >= RESET_AFTER {
            failures = 0;
        }
        failures += 1;
        tokio::select! {
            biased;
            _ = &mut ending => return None,
            () = tokio::time::sleep(BACKOFF.after(failures)) => {}
        }
    }
}

fn start(socket: &Path, listener: &OwnedFd) -> io::Result<(Child, PipeWriter)> {
    let program = sibling_binary(Engine::Native.worker()).map_err(io::Error::other)?;
    let null = std::fs::File::options().write(true).open("/dev/null")?;
    // Only the supervisor may hold the write end: the host exits when the last write end is closed, even if the
    // supervisor was killed with SIGKILL. Both ends are close-on-exec, so no later worker inherits the write end.
    let (lifeline, kept) = io::pipe()?;
    let spec = ProgramSpec {
        program,
        args: vec!["--mcp-host".into()],
        env: headless::own_environment()
            .chain([(LAUNCH_MARKER.into(), socket.into())])
            .collect(),
        cwd: "/".into(),
    };
    let stdio = [listener.try_clone()?, lifeline.into(), null.into()];
    Ok((spawn_session_with(&spec, stdio)?, kept))
}

/// Kills the host and all processes that it started. Their marker is the socket's path, which a later supervisor also
/// knows.
async fn end_processes(socket: &Path, host: Option<ProcessId>) -> ReceiptOutcome {
    let tree = Tree {
        root: host,
        sessions: Vec::new(),
        marker: socket.to_string_lossy().into_owned(),
    };
    match tree.end(END_LIMIT).await {
        Ok(_ended) => ReceiptOutcome::Ended,
        Err(error) => {
            tracing::error!(%error, "processes of shared MCP servers do not end");
            ReceiptOutcome::Survived
        }
    }
}
