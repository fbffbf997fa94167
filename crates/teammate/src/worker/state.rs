//! What a worker is doing, and what a welcome means for that. Pure data; the diagram is in the parent module.

use agent_team_protocol::initialize::Welcome;
use agent_team_protocol::method::Exit;
use agent_team_protocol::notification::{Assignment, TaskSession};
use tokio::time::Instant;

use crate::engine::output::Coalescer;
use crate::engine::{Claim, Run};

pub(super) enum State {
    Idle,
    Running(Task),
    /// To stop; the task may still end by itself until then.
    Draining {
        task: Task,
        end_at: Instant,
        words: LastWords,
    },
    /// What runs is being ended, and will not be reported.
    Ending {
        task: Task,
        then: Then,
    },
    /// Nothing runs; last words come when every report is answered, or then.
    Settling {
        words: LastWords,
        until: Instant,
    },
    /// Last words are said and not yet answered.
    Leaving {
        code: u8,
        give_up_at: Instant,
    },
    Gone {
        code: u8,
    },
}

/// A run, and what is known of it here.
pub(super) struct Task {
    pub(super) run: Run,
    pub(super) started: Instant,
    /// The session that its program leads now.
    pub(super) session: Option<TaskSession>,
    /// What the supervisor has not been shown yet.
    pub(super) output: Coalescer,
    /// When it may be shown more.
    pub(super) output_at: Instant,
}

/// What comes after a run that is being ended.
pub(super) enum Then {
    Idle,
    Start(Assignment),
    Leave(LastWords),
    /// Without a word: there is nobody to say it to.
    Vanish,
}

/// What this worker says before it exits, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastWords {
    pub(crate) code: u8,
    pub(crate) reason: String,
    /// Restarting cannot help.
    pub(crate) hold: bool,
}

impl From<LastWords> for Exit {
    fn from(words: LastWords) -> Self {
        Self {
            code: words.code.into(),
            reason: words.reason,
            hold: words.hold,
        }
    }
}

impl State {
    /// The run under way.
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

    /// When something must be done though nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Draining { end_at: at, .. }
            | Self::Settling { until: at, .. }
            | Self::Leaving { give_up_at: at, .. } => Some(*at),
            Self::Idle | Self::Running(_) | Self::Ending { .. } | Self::Gone { .. } => None,
        }
    }
}

/// What a welcome means for what runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reconciled {
    AsItShould,
    Start(Assignment),
    End,
    Replace(Assignment),
}

/// Compares what runs with what the supervisor says that this member holds. `reported` says whether a claim ended here
/// and only its report is unanswered.
pub(crate) fn reconcile(
    runs: Option<Claim>,
    welcome: Welcome,
    reported: impl Fn(Claim) -> bool,
) -> Reconciled {
    match (runs, welcome.assignment) {
        (_, Some(held)) if reported(Claim::from(&held)) => Reconciled::AsItShould,
        (Some(runs), Some(held)) if runs == Claim::from(&held) => Reconciled::AsItShould,
        (Some(_), Some(held)) => Reconciled::Replace(held),
        (None, Some(held)) => Reconciled::Start(held),
        (Some(_), None) => Reconciled::End,
        (None, None) => Reconciled::AsItShould,
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
    fn the_same_claim_goes_on() {
        let held = Some(claim(1, 1));
        assert_eq!(after(held, held, None), Reconciled::AsItShould);
        assert_eq!(after(None, None, None), Reconciled::AsItShould);
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
    fn a_claim_whose_report_is_on_its_way_is_not_run_again() {
        let held = claim(1, 1);
        assert_eq!(after(None, Some(held), Some(held)), Reconciled::AsItShould);
    }
}
