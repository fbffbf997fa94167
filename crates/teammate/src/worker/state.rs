//! The worker's state, and how a welcome of the supervisor changes it. Pure data; see the diagram in the parent module.

use agent_team_protocol::initialize::Welcome;
use agent_team_protocol::method::Exit;
use agent_team_protocol::notification::{Assignment, TaskSession};
use tokio::time::Instant;

use crate::engine::output::Coalescer;
use crate::engine::{Claim, Run};

pub(super) enum State {
    Idle,
    Running(Task),
    /// The worker is stopping. The task may finish by itself until the deadline.
    Draining {
        task: Task,
        end_at: Instant,
        report: ExitReport,
    },
    /// The run is being terminated and will not be reported.
    Ending {
        task: Task,
        then: Then,
    },
    /// Nothing runs. The exit report follows when every report is answered, or at the deadline.
    Settling {
        report: ExitReport,
        until: Instant,
    },
    /// The exit report is sent and not yet answered.
    Leaving {
        code: u8,
        give_up_at: Instant,
    },
    Gone {
        code: u8,
    },
}

/// A run and its local state.
pub(super) struct Task {
    pub(super) run: Run,
    pub(super) started: Instant,
    /// The session that its program leads.
    pub(super) session: Option<TaskSession>,
    /// Output that is not sent to the supervisor yet.
    pub(super) output: Coalescer,
    /// The earliest time for the next output.
    pub(super) output_at: Instant,
}

/// The next step after a run was terminated.
pub(super) enum Then {
    Idle,
    Start(Assignment),
    Leave(ExitReport),
    /// Exit without a report, because there is no supervisor to report to.
    Vanish,
}

/// The exit report and the exit code of this worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExitReport {
    pub(crate) code: u8,
    pub(crate) reason: String,
    /// A restart cannot help.
    pub(crate) hold: bool,
}

impl From<ExitReport> for Exit {
    fn from(report: ExitReport) -> Self {
        Self {
            code: report.code.into(),
            reason: report.reason,
            hold: report.hold,
        }
    }
}

impl State {
    /// The current run.
    pub(super) fn task(&mut self) -> Option<&mut Task> {
        match self {
            Self::Running(task) | Self::Draining { task, .. } | Self::Ending { task, .. } => {
                Some(task)
            }
            Self::Idle | Self::Settling { .. } | Self::Leaving { .. } | Self::Gone { .. } => None,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running(_) => "running",
            Self::Draining { .. } => "draining",
            Self::Ending { .. } => "ending",
            Self::Settling { .. } => "settling",
            Self::Leaving { .. } => "leaving",
            Self::Gone { .. } => "gone",
        }
    }

    /// The time of the next timeout, if any.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Draining { end_at: at, .. }
            | Self::Settling { until: at, .. }
            | Self::Leaving { give_up_at: at, .. } => Some(*at),
            Self::Idle | Self::Running(_) | Self::Ending { .. } | Self::Gone { .. } => None,
        }
    }
}

/// How a welcome changes the current run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reconciled {
    Unchanged,
    Start(Assignment),
    End,
    Replace(Assignment),
}

/// Compares the current run with the claim that the supervisor reports. `reported` returns whether a claim has ended
/// here and only its report is unanswered.
pub(crate) fn reconcile(
    runs: Option<Claim>,
    welcome: Welcome,
    reported: impl Fn(Claim) -> bool,
) -> Reconciled {
    match (runs, welcome.assignment) {
        (_, Some(held)) if reported(Claim::from(&held)) => Reconciled::Unchanged,
        (Some(runs), Some(held)) if runs == Claim::from(&held) => Reconciled::Unchanged,
        (Some(_), Some(held)) => Reconciled::Replace(held),
        (None, Some(held)) => Reconciled::Start(held),
        (Some(_), None) => Reconciled::End,
        (None, None) => Reconciled::Unchanged,
    }
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::{Generation, TaskId, TeamId, TeamName};

    use super::*;

    fn claim(task: u64, generation: u64) -> Claim {
        Claim {
            task: TaskId(task),
            generation: Generation(generation),
        }
    }

    fn assignment(claim: Claim) -> Assignment {
        Assignment {
            task: claim.task,
            generation: claim.generation,
            title: "Build".into(),
            description: String::new(),
            run: Some("true".into()),
            verify: None,
            attempt: 1,
            files: Vec::new(),
        }
    }

    fn after(runs: Option<Claim>, holds: Option<Claim>, reported: Option<Claim>) -> Reconciled {
        let team: TeamName = "demo".parse().unwrap();
        let welcome = Welcome {
            name: "ada".parse().unwrap(),
            team: TeamId::new(&team, "/project".as_ref()),
            role: "worker".parse().unwrap(),
            colour: "blue".into(),
            assignment: holds.map(assignment),
            allowance: Default::default(),
        };
        reconcile(runs, welcome, |claim| Some(claim) == reported)
    }

    #[test]
    fn the_same_claim_continues() {
        let held = Some(claim(1, 1));
        assert_eq!(after(held, held, None), Reconciled::Unchanged);
        assert_eq!(after(None, None, None), Reconciled::Unchanged);
    }

    #[test]
    fn a_claim_that_is_no_longer_held_ends() {
        assert_eq!(after(Some(claim(1, 1)), None, None), Reconciled::End);
    }

    #[test]
    fn a_newer_generation_of_the_same_task_starts_over() {
        let newer = claim(1, 2);
        let expected = Reconciled::Replace(assignment(newer));
        assert_eq!(after(Some(claim(1, 1)), Some(newer), None), expected);
        let expected = Reconciled::Start(assignment(newer));
        assert_eq!(after(None, Some(newer), Some(claim(1, 1))), expected);
    }

    #[test]
    fn a_reported_claim_is_not_run_again() {
        let held = claim(1, 1);
        assert_eq!(after(None, Some(held), Some(held)), Reconciled::Unchanged);
    }
}
