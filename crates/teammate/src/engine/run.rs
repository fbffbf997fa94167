//! One execution of a task's lines or of a typed line (not the run of a goal), and the interface between the worker and
//! the engine that executes the lines.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use agent_team_protocol::notification::Assignment;
use agent_team_protocol::spec::FileDigest;
use agent_team_protocol::{Generation, TaskId};
use agent_team_system::process::ProcessId;
use agent_team_tools::secret::Secrets;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Columns and rows of a terminal.
pub(crate) type Size = (u16, u16);

/// The largest part of a shell line's output, in bytes, that a result or a failure contains: the end of the output.
pub(crate) const TAIL_BYTES: usize = 4 << 10;

/// The terminal size without a pane.
pub(crate) const HEADLESS_SIZE: Size = (80, 24);

/// Starts the runs of a member's tasks. Lives as long as the worker.
pub(crate) trait TaskEngine {
    /// Starts the lines of a task, or a line that the user has typed. Must be called within the worker's runtime.
    fn start(&mut self, context: &Arc<ProgramContext>, lines: Lines, size: Size) -> ProgramRun;
}

/// The shell lines of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines {
    /// A task without a `run` line fails.
    pub(crate) run: Option<String>,
    pub(crate) verify: Option<String>,
    /// The scripts that the lines start, with the digests of the content that the user trusted.
    pub(crate) files: Vec<FileDigest>,
}

impl From<&Assignment> for Lines {
    fn from(assignment: &Assignment) -> Self {
        Self {
            run: assignment.run.clone(),
            verify: assignment.verify.clone(),
            files: assignment.files.clone(),
        }
    }
}

/// The claim for which a run was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Claim {
    pub(crate) task: TaskId,
    pub(crate) generation: Generation,
}

impl From<&Assignment> for Claim {
    fn from(assignment: &Assignment) -> Self {
        Self {
            task: assignment.task,
            generation: assignment.generation,
        }
    }
}

/// The context in which this member's programs run.
#[derive(Debug)]
pub(crate) struct ProgramContext {
    /// The complete environment of the programs.
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: PathBuf,
    /// The secret values in `env`.
    pub(crate) secrets: Secrets,
    /// The launch marker in the environment of all programs.
    pub(crate) marker: String,
    /// Whether the worker runs one line at a time and no other programs. If so, all processes that remain after a line
    /// has exited were started by that line.
    pub(crate) alone: bool,
}

/// An event of a run. `Ended` is the last event.
#[derive(Debug)]
pub(crate) enum Event {
    /// A program has started, as the leader of this session.
    Session(ProcessId),
    Output {
        /// The program's output with its escape sequences, without secrets.
        bytes: Vec<u8>,
        /// The output as plain text, without secrets.
        text: String,
    },
    /// The `run` line has succeeded, and the `verify` line starts.
    Verifying(String),
    Ended(RunOutcome),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunOutcome {
    Completed {
        result: String,
    },
    /// `detail` is the tail of the output, often empty.
    Failed {
        reason: String,
        detail: String,
    },
    /// The run was terminated, with all of its processes.
    Abandoned,
}

/// A running task or line. Dropping it terminates the run without waiting.
#[derive(Debug)]
pub(crate) struct ProgramRun {
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) controls: Controls,
    pub(crate) task: JoinHandle<()>,
}

/// The worker's controls of a run.
#[derive(Debug)]
pub(crate) struct Controls {
    // Unbounded: the input contains only keystrokes of a user.
    input: mpsc::UnboundedSender<Vec<u8>>,
    size: watch::Sender<Size>,
    end: watch::Sender<bool>,
}

/// The run's side of the controls.
#[derive(Debug)]
pub(super) struct ControlReceivers {
    pub(super) input: mpsc::UnboundedReceiver<Vec<u8>>,
    pub(super) size: watch::Receiver<Size>,
    pub(super) end: watch::Receiver<bool>,
}

impl Controls {
    pub(super) fn new(size: Size) -> (Self, ControlReceivers) {
        let (input, typed) = mpsc::unbounded_channel();
        let (size, sizes) = watch::channel(size);
        let (end, ended) = watch::channel(false);
        let control_receivers = ControlReceivers {
            input: typed,
            size: sizes,
            end: ended,
        };
        (Self { input, size, end }, control_receivers)
    }

    /// Passes keystrokes to the running program.
    pub(crate) fn type_in(&self, bytes: Vec<u8>) {
        // The receiver is gone if the run is ending.
        let _ended = self.input.send(bytes);
    }

    pub(crate) fn resize(&self, size: Size) {
        self.size.send_replace(size);
    }

    /// Terminates the run with all of its processes. The run then reports `Ended(Abandoned)`.
    pub(crate) fn end(&self) {
        self.end.send_replace(true);
    }
}
