//! The command engine: runs a task's `run` line, then its `verify` line, on a terminal of their own.
//!
//! ```text
//! run ── exit 0 ── verify (if any) ── exit 0 ──► completed
//!  │                 └── otherwise ──► failed
//!  ├── otherwise ──► failed
//!  └── told to end: TERM to all ── 1 s ── KILL ──► abandoned
//! ```
//! When a line's shell has exited, whatever it left in the background is ended before anything is reported.

use std::convert::Infallible;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::notification::Assignment;
use agent_team_system::process::{ProcessId, Signal};
use agent_team_system::pty::Pty;
use agent_team_system::spawn::{Child, ProgramSpec};
use agent_team_system::tree::Tree;
use agent_team_system::trusted;
use tokio::sync::{mpsc, watch};

use super::output::Tail;
use super::{Claim, Controls, Event, Outcome, Place, Run, Size, Steering, TAIL_BYTES};
use crate::secret::{Hiding, Secrets};
use crate::vt::Plain;

/// Read at once, at most.
const READ_BYTES: usize = 16 << 10;

/// Events that wait for the worker: beyond them the program waits, as it does for any slow terminal.
const QUEUED_EVENTS: usize = 4;

/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(1);

/// How long a killed process may take to be gone: longer only in uninterruptible sleep.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How long the rest of the output is waited for when nobody is left to add to it: this is for a pane that does not
/// take it, and for a process that could not be ended and still has the terminal open.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Starts working on a task. Must be called within the worker's runtime.
pub(crate) fn start(place: Arc<Place>, assignment: Assignment, size: Size) -> Run {
    let claim = Claim::from(&assignment);
    let (to_worker, events) = mpsc::channel(QUEUED_EVENTS);
    let (controls, steering) = Controls::new(size);
    let work = Work {
        place,
        steering,
        to_worker,
    };
    Run {
        claim,
        events,
        controls,
        task: tokio::spawn(work.run(assignment)),
    }
}

struct Work {
    place: Arc<Place>,
    steering: Steering,
    to_worker: mpsc::Sender<Event>,
}

/// How one line ended.
enum Ended {
    Exited { status: ExitStatus, output: String },
    Abandoned,
}

impl Work {
    async fn run(mut self, assignment: Assignment) {
        let outcome = self.outcome(&assignment).await;
        self.tell(Event::Ended(outcome)).await;
    }

    async fn tell(&self, event: Event) {
        // Without a worker nobody needs to know.
        let _gone = self.to_worker.send(event).await;
    }

    async fn outcome(&mut self, assignment: &Assignment) -> Outcome {
        let Some(run) = &assignment.run else {
            return failed("no run line: the command engine cannot do it");
        };
        if let Err(changed) = trusted::check(&assignment.files) {
            return failed(changed.to_string());
        }
        let result = match self.line(run).await {
            Ok(Ended::Exited { status, output }) if status.success() => output,
            Ok(Ended::Exited { status, output }) => {
                return Outcome::Failed {
                    reason: describe(status),
                    detail: output,
                };
            }
            Ok(Ended::Abandoned) => return Outcome::Abandoned,
            Err(error) => return failed(format!("/bin/sh did not run: {error}")),
        };
        let Some(verify) = &assignment.verify else {
            return Outcome::Completed { result };
        };
        self.tell(Event::Verifying(verify.clone())).await;
        if let Err(changed) = trusted::check(&assignment.files) {
            return failed(changed.to_string());
        }
        match self.line(verify).await {
            Ok(Ended::Exited { status, .. }) if status.success() => Outcome::Completed { result },
            Ok(Ended::Exited { status, output }) => Outcome::Failed {
                reason: format!("verify failed ({})", describe(status)),
                detail: output,
            },
            Ok(Ended::Abandoned) => Outcome::Abandoned,
            Err(error) => failed(format!("verify failed: /bin/sh did not run: {error}")),
        }
    }

    /// Runs one shell line to its end, and ends what it leaves behind.
    async fn line(&mut self, line: &str) -> io::Result<Ended> {
        let (columns, rows) = *self.steering.size.borrow_and_update();
        let pty = Pty::open(columns, rows)?;
        let mut child = pty.spawn(&ProgramSpec {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), line.into()],
            env: self.place.env.clone(),
            cwd: self.place.cwd.clone(),
        })?;
        self.tell(Event::Session(child.process)).await;

        let mut screen = Screen::new(&pty, &self.to_worker, &self.place.secrets);
        let Steering { input, size, end } = &mut self.steering;
        let status = tokio::select! {
            status = screen.show_until(child.wait()) => Some(status?),
            () = told_to_end(end) => None,
            never = type_in(&pty, input) => match never {},
            never = follow_size(&pty, size) => match never {},
        };
        let ended = match status {
            Some(status) => {
                let tree = self.tree(child.process);
                screen.show_until(end_tree(&tree)).await;
                if tokio::time::timeout(DRAIN_LIMIT, screen.show_rest())
                    .await
                    .is_err()
                {
                    tracing::warn!("the end of the output was not taken in time");
                }
                screen.show_held().await;
                let output = screen.tail.text();
                Ended::Exited { status, output }
            }
            None => {
                let tree = self.tree(child.process);
                screen.show_until(terminate(&tree, &mut child)).await;
                screen.show_held().await;
                Ended::Abandoned
            }
        };
        Ok(ended)
    }

    /// Where it runs alone, all that is below this worker.
    fn tree(&self, leader: ProcessId) -> Tree {
        if self.place.alone {
            return Tree {
                root: ProcessId::current().ok(),
                sessions: vec![leader],
                marker: self.place.marker.clone(),
            };
        }
        Tree {
            root: Some(leader),
            sessions: vec![leader],
            marker: String::new(),
        }
    }
}

/// The terminal of one line, as it is shown.
struct Screen<'a> {
    pty: &'a Pty,
    to_worker: &'a mpsc::Sender<Event>,
    plain: Plain,
    /// In what is shown as it was printed, and in its text: what splits a secret there does not split it here.
    hiding: [Hiding; 2],
    tail: Tail,
    buffer: Vec<u8>,
}

impl<'a> Screen<'a> {
    fn new(pty: &'a Pty, to_worker: &'a mpsc::Sender<Event>, secrets: &Secrets) -> Self {
        Self {
            pty,
            to_worker,
            plain: Plain::default(),
            hiding: [secrets.hiding(), secrets.hiding()],
            tail: Tail::new(TAIL_BYTES),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// Shows what is printed until `done` is.
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

    /// Shows what is left, once nobody has the terminal open any more.
    async fn show_rest(&mut self) {
        while self.show_next().await {}
    }

    /// Shows what could have been the beginning of a secret and was none.
    async fn show_held(&mut self) {
        let [raw, plain] = &mut self.hiding;
        let (bytes, text) = (raw.rest(), plain.rest_of_text());
        if bytes.is_empty() && text.is_empty() {
            return;
        }
        self.tail.push(&text);
        // Without a worker nobody looks.
        let _gone = self.to_worker.send(Event::Output { bytes, text }).await;
    }

    /// False when there will be nothing more. Safe to cancel.
    async fn show_next(&mut self) -> bool {
        let Ok(room) = self.to_worker.reserve().await else {
            return false;
        };
        match self.pty.read(&mut self.buffer).await {
            Ok(0) => false,
            Ok(read) => {
                let mut text = String::with_capacity(read);
                self.plain.feed(&self.buffer[..read], &mut text);
                let [raw, plain] = &mut self.hiding;
                let bytes = raw.bytes(&self.buffer[..read]);
                let text = plain.text(&text);
                self.tail.push(&text);
                room.send(Event::Output { bytes, text });
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the task's terminal cannot be read");
                false
            }
        }
    }
}

async fn told_to_end(end: &mut watch::Receiver<bool>) {
    // A worker that has gone wants nothing to run either.
    let _told = end.wait_for(|end| *end).await;
}

async fn type_in(pty: &Pty, input: &mut mpsc::UnboundedReceiver<Vec<u8>>) -> Infallible {
    while let Some(bytes) = input.recv().await {
        if let Err(error) = pty.write_all(&bytes).await {
            tracing::debug!(%error, "keys came too late");
        }
    }
    std::future::pending().await
}

async fn follow_size(pty: &Pty, size: &mut watch::Receiver<Size>) -> Infallible {
    while size.changed().await.is_ok() {
        let (columns, rows) = *size.borrow_and_update();
        if let Err(error) = pty.resize(columns, rows) {
            tracing::debug!(%error, "the task's terminal keeps its size");
        }
    }
    std::future::pending().await
}

/// Asks everything to end, then ends it.
async fn terminate(tree: &Tree, child: &mut Child) {
    if let Err(error) = tree.signal_all(Signal::SIGTERM) {
        tracing::warn!(%error, "the task's processes cannot be listed");
    }
    if !tree.gone(GRACE).await {
        end_tree(tree).await;
    }
    if tokio::time::timeout(KILL_LIMIT, child.wait())
        .await
        .is_err()
    {
        tracing::warn!(process = ?child.process, "a killed process does not end");
    }
}

async fn end_tree(tree: &Tree) {
    match tree.end(KILL_LIMIT).await {
        Ok(ended) if ended.is_empty() => {}
        Ok(ended) => tracing::debug!(?ended, "left in the background, ended"),
        // The supervisor looks at the whole launch again before it starts a successor.
        Err(error) => tracing::warn!(%error, "something of the task is left"),
    }
}

fn failed(reason: impl Into<String>) -> Outcome {
    Outcome::Failed {
        reason: reason.into(),
        detail: String::new(),
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}
