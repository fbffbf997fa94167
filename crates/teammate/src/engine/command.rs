//! The command engine: runs a task's `run` line, then its `verify` line, each on its own terminal.
//!
//! ```text
//! run ── exit 0 ── verify (if any) ── exit 0 ──► completed
//!  │                 └── otherwise ──► failed
//!  └── otherwise ──► failed
//!
//! run or verify ── terminated: TERM to all ── 1 s ── KILL ──► abandoned
//! ```
//! When a line's shell has exited, the processes that it left in the background are terminated before the result is
//! reported.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use agent_team_system::process::{ProcessId, Signal};
use agent_team_system::pty::Pty;
use agent_team_system::spawn::{Child, ProgramSpec};
use agent_team_system::tree::Tree;
use agent_team_system::trusted;
use agent_team_tools::program::describe_exit;
use agent_team_tools::secret::{RedactedStream, Secrets};
use agent_team_tools::tail::Tail;
use agent_team_tools::vt::Plain;
use tokio::sync::{mpsc, watch};

use super::run::{
    ControlReceivers, Controls, Event, Lines, ProgramContext, ProgramRun, RunOutcome, Size,
    TAIL_BYTES, TaskEngine,
};

/// The largest read, in bytes.
const READ_BYTES: usize = 16 << 10;

/// The capacity of the event queue. If it is full, the program blocks, as on a slow terminal.
const QUEUED_EVENTS: usize = 4;

/// The time between TERM and KILL.
const GRACE: Duration = Duration::from_secs(1);

/// The time limit for a killed process to exit. A process that exceeds the limit is in uninterruptible sleep; the
/// worker logs an error.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// The time limit for reading the rest of the output after the processes have exited. The limit is reached if the pane
/// does not take the output, or if an unkillable process still has the terminal open.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

pub(super) struct Command;

impl TaskEngine for Command {
    fn start(&mut self, context: &Arc<ProgramContext>, lines: Lines, size: Size) -> ProgramRun {
        let (to_worker, events) = mpsc::channel(QUEUED_EVENTS);
        let (controls, control_receivers) = Controls::new(size);
        let work = Work {
            program_context: Arc::clone(context),
            control_receivers,
            to_worker,
        };
        ProgramRun {
            events,
            controls,
            task: tokio::spawn(work.run(lines)),
        }
    }
}

struct Work {
    program_context: Arc<ProgramContext>,
    control_receivers: ControlReceivers,
    to_worker: mpsc::Sender<Event>,
}

/// How a shell line has ended.
enum LineEnd {
    Exited { status: ExitStatus, output: String },
    Abandoned,
}

impl Work {
    async fn run(mut self, lines: Lines) {
        let outcome = self.outcome(&lines).await;
        self.send(Event::Ended(outcome)).await;
    }

    async fn send(&self, event: Event) {
        // The receiver is gone only when the worker is exiting.
        let _gone = self.to_worker.send(event).await;
    }

    async fn outcome(&mut self, lines: &Lines) -> RunOutcome {
        let Some(run) = &lines.run else {
            return failed("the task has no run line, which the command engine requires");
        };
        if let Err(changed) = trusted::check(&lines.files) {
            return failed(changed.to_string());
        }
        let result = match self.line(run).await {
            Ok(LineEnd::Exited { status, output }) if status.success() => output,
            Ok(LineEnd::Exited { status, output }) => {
                return RunOutcome::Failed {
                    reason: describe_exit(status),
                    detail: output,
                };
            }
            Ok(LineEnd::Abandoned) => return RunOutcome::Abandoned,
            Err(error) => return failed(format!("cannot run /bin/sh: {error}")),
        };
        let Some(verify) = &lines.verify else {
            return RunOutcome::Completed { result };
        };
        self.send(Event::Verifying(verify.clone())).await;
        if let Err(changed) = trusted::check(&lines.files) {
            return failed(changed.to_string());
        }
        match self.line(verify).await {
            Ok(LineEnd::Exited { status, .. }) if status.success() => {
                RunOutcome::Completed { result }
            }
            Ok(LineEnd::Exited { status, output }) => RunOutcome::Failed {
                reason: format!("verify failed ({})", describe_exit(status)),
                detail: output,
            },
            Ok(LineEnd::Abandoned) => RunOutcome::Abandoned,
            Err(error) => failed(format!("verify failed: cannot run /bin/sh: {error}")),
        }
    }

    /// Runs one shell line until it exits, and terminates the processes that it left behind.
    async fn line(&mut self, line: &str) -> io::Result<LineEnd> {
        let (columns, rows) = *self.control_receivers.size.borrow_and_update();
        let pty = Pty::open(columns, rows)?;
        let mut child = pty.spawn(&ProgramSpec {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), line.into()],
            env: self.program_context.env.clone(),
            cwd: self.program_context.cwd.clone(),
        })?;
        self.send(Event::Session(child.process)).await;

        let mut output = TerminalOutput::new(&pty, &self.to_worker, &self.program_context.secrets);
        let ControlReceivers { input, size, end } = &mut self.control_receivers;
        let status = tokio::select! {
            status = output.show_until(child.wait()) => Some(status?),
            () = end_requested(end) => None,
            never = type_in(&pty, input) => match never {},
            never = follow_size(&pty, size) => match never {},
        };
        let ended = match status {
            Some(status) => {
                let tree = self.tree(child.process);
                output.show_until(end_tree(&tree)).await;
                if tokio::time::timeout(DRAIN_LIMIT, output.show_rest())
                    .await
                    .is_err()
                {
                    tracing::warn!("cannot read the rest of the output in time");
                }
                output.show_held().await;
                let output = output.tail.text();
                LineEnd::Exited { status, output }
            }
            None => {
                let tree = self.tree(child.process);
                output.show_until(terminate(&tree, &mut child)).await;
                output.show_held().await;
                LineEnd::Abandoned
            }
        };
        Ok(ended)
    }

    /// The processes that are terminated with the line. If this worker runs no other programs (`alone`): all processes
    /// below the worker, and all processes with the launch marker. Otherwise: the shell, its descendants, and its
    /// session.
    fn tree(&self, leader: ProcessId) -> Tree {
        if self.program_context.alone {
            return Tree {
                root: ProcessId::current().ok(),
                sessions: vec![leader],
                marker: self.program_context.marker.clone(),
            };
        }
        Tree {
            root: Some(leader),
            sessions: vec![leader],
            marker: String::new(),
        }
    }
}

/// The output of one line's terminal.
struct TerminalOutput<'a> {
    pty: &'a Pty,
    to_worker: &'a mpsc::Sender<Event>,
    plain: Plain,
    /// Redaction of the raw output and of its text. The streams are separate, because escape sequences can split a
    /// secret in the raw output.
    redactions: [RedactedStream; 2],
    tail: Tail,
    buffer: Vec<u8>,
}

impl<'a> TerminalOutput<'a> {
    fn new(pty: &'a Pty, to_worker: &'a mpsc::Sender<Event>, secrets: &Secrets) -> Self {
        Self {
            pty,
            to_worker,
            plain: Plain::default(),
            redactions: [secrets.stream(), secrets.stream()],
            tail: Tail::new(TAIL_BYTES),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// Shows output until `done` completes.
    async fn show_until<T>(&mut self, done: impl Future<Output = T>) -> T {
        let mut done = pin!(done);
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                result = &mut done => return result,
                shown = self.show_next(), if open => open = shown,
            }
        }
    }

    /// Shows the remaining output, until no process has the terminal open.
    async fn show_rest(&mut self) {
        while self.show_next().await {}
    }

    /// Shows held-back bytes that could have been the beginning of a secret.
    async fn show_held(&mut self) {
        let [raw, plain] = &mut self.redactions;
        let (bytes, text) = (raw.rest(), plain.rest_of_text());
        if bytes.is_empty() && text.is_empty() {
            return;
        }
        self.tail.push(&text);
        // The receiver is gone only when the worker is exiting.
        let _gone = self.to_worker.send(Event::Output { bytes, text }).await;
    }

    /// Shows the next output. Returns false at the end of the output. Cancel-safe.
    async fn show_next(&mut self) -> bool {
        // Reserve room before reading: a cancellation between the read and the send would lose the output.
        let Ok(room) = self.to_worker.reserve().await else {
            return false;
        };
        match self.pty.read(&mut self.buffer).await {
            Ok(0) => false,
            Ok(read) => {
                let mut text = String::with_capacity(read);
                self.plain.feed(&self.buffer[..read], &mut text);
                let [raw, plain] = &mut self.redactions;
                let bytes = raw.bytes(&self.buffer[..read]);
                let text = plain.text(&text);
                self.tail.push(&text);
                room.send(Event::Output { bytes, text });
                true
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read the task's terminal");
                false
            }
        }
    }
}

async fn end_requested(end: &mut watch::Receiver<bool>) {
    // If the sender is dropped, the worker has exited: terminate the run as well.
    let _requested = end.wait_for(|end| *end).await;
}

async fn type_in(pty: &Pty, input: &mut mpsc::UnboundedReceiver<Vec<u8>>) -> Infallible {
    while let Some(bytes) = input.recv().await {
        if let Err(error) = pty.write_all(&bytes).await {
            tracing::debug!(%error, "cannot type keystrokes into the task's terminal");
        }
    }
    std::future::pending().await
}

async fn follow_size(pty: &Pty, size: &mut watch::Receiver<Size>) -> Infallible {
    while size.changed().await.is_ok() {
        let (columns, rows) = *size.borrow_and_update();
        if let Err(error) = pty.resize(columns, rows) {
            tracing::debug!(%error, "cannot resize the task's terminal");
        }
    }
    std::future::pending().await
}

/// Sends TERM to all processes, then KILL.
async fn terminate(tree: &Tree, child: &mut Child) {
    if let Err(error) = tree.signal_all(Signal::SIGTERM) {
        tracing::warn!(%error, "cannot list the task's processes");
    }
    if !tree.gone(GRACE).await {
        end_tree(tree).await;
    }
    if tokio::time::timeout(KILL_LIMIT, child.wait())
        .await
        .is_err()
    {
        tracing::warn!(process = ?child.process, "a killed process does not exit");
    }
}

async fn end_tree(tree: &Tree) {
    match tree.end(KILL_LIMIT).await {
        Ok(ended) if ended.is_empty() => {}
        Ok(ended) => tracing::debug!(?ended, "terminated background processes"),
        // The supervisor terminates processes with the launch's marker before the next launch of this member.
        Err(error) => tracing::warn!(%error, "some processes of the task remain"),
    }
}

fn failed(reason: impl Into<String>) -> RunOutcome {
    RunOutcome::Failed {
        reason: reason.into(),
        detail: String::new(),
    }
}
