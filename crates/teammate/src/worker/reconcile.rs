//! Compares a member's claim with the supervisor's welcome. Called by the worker after each connect. Pure.

use agent_team_protocol::initialize::Welcome;
use agent_team_protocol::notification::Assignment;

use crate::engine::Claim;

/// The change of the member's current claim.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClaimChange {
    Unchanged,
    /// Work on this task instead of the current claim, if any.
    Start(Assignment),
    End,
}

/// Compares the current run with the claim that the supervisor reports. `reported` returns whether the run of a claim
/// has ended in this worker and its report is unanswered.
pub(super) fn reconcile(
    running: Option<Claim>,
    welcome: Welcome,
    reported: impl Fn(Claim) -> bool,
) -> ClaimChange {
    let running = running.filter(|claim| !reported(*claim));
    match (running, welcome.assignment) {
        (_, Some(held)) if reported(Claim::from(&held)) => ClaimChange::Unchanged,
        (Some(running), Some(held)) if running == Claim::from(&held) => ClaimChange::Unchanged,
        (_, Some(held)) => ClaimChange::Start(held),
        (Some(_), None) => ClaimChange::End,
        (None, None) => ClaimChange::Unchanged,
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

    fn after(running: Option<Claim>, holds: Option<Claim>, reported: Option<Claim>) -> ClaimChange {
        let team: TeamName = "demo".parse().unwrap();
        let welcome = Welcome {
            name: "ada".parse().unwrap(),
            team: TeamId::new(&team, "/project".as_ref()),
            role: "worker".parse().unwrap(),
            colour: "blue".into(),
            assignment: holds.map(assignment),
            allowance: Default::default(),
        };
        reconcile(running, welcome, |claim| Some(claim) == reported)
    }

    #[test]
    fn the_same_claim_continues() {
        let held = Some(claim(1, 1));
        assert_eq!(after(held, held, None), ClaimChange::Unchanged);
        assert_eq!(after(None, None, None), ClaimChange::Unchanged);
    }

    #[test]
    fn a_claim_that_is_no_longer_held_ends() {
        assert_eq!(after(Some(claim(1, 1)), None, None), ClaimChange::End);
    }

    #[test]
    fn a_newer_generation_of_the_same_task_starts_over() {
        let newer = claim(1, 2);
        let expected = ClaimChange::Start(assignment(newer));
        assert_eq!(after(Some(claim(1, 1)), Some(newer), None), expected);
        assert_eq!(after(None, Some(newer), Some(claim(1, 1))), expected);
    }

    #[test]
    fn a_reported_claim_is_not_run_again() {
        let held = claim(1, 1);
        assert_eq!(after(None, Some(held), Some(held)), ClaimChange::Unchanged);
    }
}
