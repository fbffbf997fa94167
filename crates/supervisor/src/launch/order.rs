//! The order to run a program for a member: as its worker, or to show its running worker. Sent by the driver; carried
//! out by the launcher and by terminal backends.

use std::ffi::OsString;
use std::path::PathBuf;

use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_protocol::placement::Placement;
use agent_team_protocol::spec::Colour;
use agent_team_protocol::{LaunchId, MemberName};

/// An order to start a worker, or to show a running worker.
#[derive(Debug, Clone)]
pub(crate) struct LaunchOrder {
    pub(crate) member: MemberName,
    pub(crate) launch: LaunchId,
    /// Empty if the worker runs inside the supervisor's process.
    pub(crate) program: PathBuf,
    pub(crate) task: ProgramTask,
    /// Where the program must run. A pane is used only if the team has panes.
    pub(crate) placement: Placement,
    pub(crate) label: Label,
}

/// The task of the started program.
#[derive(Debug, Clone)]
pub(crate) enum ProgramTask {
    /// Run as the worker; the launch file is already written.
    Launch { file: PathBuf },
    /// Run as attach helper: keep a pane open for a running worker.
    AttachHelper {
        /// The worker's pid. If the member's old pane still runs the worker, no new pane is needed.
        worker: u32,
        arguments: Vec<OsString>,
    },
}

/// The label of a pane's border.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) colour: Colour,
    /// For example role, state and task.
    pub(crate) text: String,
    /// The member waits for the user.
    pub(crate) asks: bool,
}

/// The summary of a team for status lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TeamSummary {
    pub(crate) name: String,
    /// Number of completed tasks; the next two fields count failed tasks and tasks in progress.
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) in_progress: u64,
    /// The members that wait for the user; empty for none.
    pub(crate) waiting: String,
    /// Empty if the known cost is zero.
    pub(crate) cost: String,
    /// Empty for the default mode.
    pub(crate) mode: &'static str,
}

impl LaunchOrder {
    /// The environment entry that marks a worker as part of its launch. The attach helper gets no marker: with a marker
    /// it would belong to the launch's process tree, which the worker terminates after each task.
    pub(super) fn marker(&self) -> Option<String> {
        match self.task {
            ProgramTask::Launch { .. } => Some(format!("{LAUNCH_MARKER}={}", self.launch)),
            ProgramTask::AttachHelper { .. } => None,
        }
    }

    /// The arguments of the program.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        match &self.task {
            ProgramTask::Launch { file } => vec!["--launch".into(), file.into()],
            ProgramTask::AttachHelper { arguments, .. } => arguments.clone(),
        }
    }
}
