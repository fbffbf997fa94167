//! What does a member's work. Called by the worker, which starts one [`Run`] at a time and hears of it through events.
//!
//! An engine never speaks to the supervisor and never touches the pane.

pub(crate) mod command;
pub(crate) mod output;

use std::ffi::OsString;
use std::path::PathBuf;

use agent_team_protocol::notification::Assignment;
use agent_team_protocol::{Generation, TaskId};
use agent_team_system::process::ProcessId;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::secret::Secrets;

/// Columns and rows of a terminal.
pub(crate) type Size = (u16, u16);

/// How much of the output of a line a result or a failure keeps, in bytes.
pub(crate) const TAIL_BYTES: usize = 4 << 10;

/// Without a pane.
pub(crate) const HEADLESS_SIZE: Size = (80, 24);

/// The claim that a run is made for.
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

/// Where this member's programs run, the same for all of them.
#[derive(Debug)]
pub(crate) struct Place {
    /// Complete: nothing else is passed on.
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: PathBuf,
    /// What of `env` is shown to nobody.
    pub(crate) secrets: Secrets,
    /// The launch marker that all of them carry.
    pub(crate) marker: String,
    /// They are all that runs below this worker, one line at a time: whatever is there when a line has ended was left
    /// behind by it.
    pub(crate) alone: bool,
}

/// What happens in a run, in order; `Ended` is the last.
#[derive(Debug)]
pub(crate) enum Event {
    /// A program leads this session.
    Session(ProcessId),
    Output {
        /// As the program printed it.
        bytes: Vec<u8>,
        /// The same as plain text.
        text: String,
    },
    /// The work is done; now its `verify` line runs.
    Verifying(String),
    Ended(Outcome),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Completed {
        result: String,
    },
    /// `detail` is the end of the output, often empty.
    Failed {
        reason: String,
        detail: String,
    },
    /// It was told to end, and nothing of it is left.
    Abandoned,
}

/// A run under way. Dropping it ends it, without anybody waiting for that.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) claim: Claim,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) controls: Controls,
    pub(crate) task: JoinHandle<()>,
}

/// The worker's side of what steers a run.
#[derive(Debug)]
pub(crate) struct Controls {
    // Unbounded: a person typed it.
    input: mpsc::UnboundedSender<Vec<u8>>,
    size: watch::Sender<Size>,
    end: watch::Sender<bool>,
}

/// The run's side.
#[derive(Debug)]
struct Steering {
    input: mpsc::UnboundedReceiver<Vec<u8>>,
    size: watch::Receiver<Size>,
    end: watch::Receiver<bool>,
}

impl Controls {
    fn new(size: Size) -> (Self, Steering) {
        let (input, typed) = mpsc::unbounded_channel();
        let (size, sizes) = watch::channel(size);
        let (end, ended) = watch::channel(false);
        let steering = Steering {
            input: typed,
            size: sizes,
            end: ended,
        };
        (Self { input, size, end }, steering)
    }

    /// Types into the running program.
    pub(crate) fn type_in(&self, bytes: Vec<u8>) {
        // A run that is just ending does not need it any more.
        let _ended = self.input.send(bytes);
    }

    pub(crate) fn resize(&self, size: Size) {
        self.size.send_replace(size);
    }

    /// Ends the run with everything that it started; it says `Ended(Abandoned)` then.
    pub(crate) fn end(&self) {
        self.end.send_replace(true);
    }
}
