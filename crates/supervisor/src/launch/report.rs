//! Reports of a team's launcher to its driver: what was started, what has exited, which panes exist.

use std::fmt;
use std::rc::Rc;

use agent_team_protocol::placement::Placement;
use agent_team_protocol::{LaunchId, MemberName};
use agent_team_system::process::ProcessId;

/// A fact that the launcher observed.
#[derive(Debug)]
pub(crate) enum LaunchReport {
    StartEnded(StartResult),
    /// A hosted worker has ended.
    Exited(LaunchId),
    PanesFound(Vec<FoundPane>),
}

/// The result of a launch order.
#[derive(Debug)]
pub(crate) struct StartResult {
    pub(crate) member: MemberName,
    pub(crate) launch: LaunchId,
    pub(crate) outcome: Result<StartedWorker, String>,
}

#[derive(Debug)]
pub(crate) struct StartedWorker {
    pub(crate) process: ProcessId,
    pub(crate) placement: Placement,
    /// The pane's id.
    pub(crate) pane: Option<String>,
}

/// A pane of the team that already exists.
#[derive(Debug)]
pub(crate) struct FoundPane {
    pub(crate) member: MemberName,
    /// Pid of the process in the pane.
    pub(crate) pid: u32,
    pub(crate) id: String,
    pub(crate) placement: Placement,
}

/// Sends the reports of one launcher to the driver, in order. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ReportSender(Rc<dyn Fn(LaunchReport)>);

impl ReportSender {
    pub(crate) fn new(take: impl Fn(LaunchReport) + 'static) -> Self {
        Self(Rc::new(take))
    }

    pub(crate) fn send(&self, report: LaunchReport) {
        (self.0)(report);
    }
}

impl fmt::Debug for ReportSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportSender").finish_non_exhaustive()
    }
}
