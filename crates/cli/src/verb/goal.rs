//! Waiting for the answer to a goal, and what came of its run. Called by `run`, and by `up` with a goal
//! and `--wait`.

use std::time::Instant;

use agent_team_protocol::method::{ListRounds, Nothing, RunRounds, RunWait, TeamShow, WaitRun};
use agent_team_protocol::view::{RoundView, RunState, RunView, TaskView};
use agent_team_protocol::{Revision, RunId};

use super::waiting::{self, Outputs, Report, Waited};
use crate::error::Failure;
use crate::output::{Output, text};
use crate::session::Session;

/// What came of a run.
pub(super) struct Ended {
    pub(super) view: RunView,
    pub(super) report: Report<RunState>,
}

/// Waits until the run has ended. `None`: the person did not want to wait any more. `after` is the revision from which
/// on its progress is told.
pub(super) async fn wait(
    session: &mut Session,
    output: Output,
    run: RunId,
    after: Revision,
    began: Instant,
) -> Result<Option<Ended>, Failure> {
    let waiter = session.another();
    let finished = session.wait_for::<RunWait>(WaitRun { run });
    match waiting::until(&waiter, output, after, finished).await? {
        Waited::Ended { answer, tasks } => ended(session, answer, tasks, began).await.map(Some),
        Waited::Interrupted => Ok(None),
    }
}

/// What came of a run that has ended, with the board as it was then.
pub(super) async fn ended(
    session: &mut Session,
    view: RunView,
    tasks: Vec<TaskView>,
    began: Instant,
) -> Result<Ended, Failure> {
    let rounds = rounds(session, view.run).await?;
    let team = session.ask::<TeamShow>(Nothing {}).await?;
    let outputs = match rounds.is_empty() {
        true => Outputs::last(&team.members),
        false => Outputs::by_round(rounds),
    };
    let mut report = Report::new(team.team, view.state, outputs, team.members, tasks, began);
    report.rounds = view.rounds;
    report.final_answer.clone_from(&view.answer);
    report.reason.clone_from(&view.reason);
    Ok(Ended { view, report })
}

/// All rounds of a run; none where the lead leads with tools.
async fn rounds(session: &mut Session, run: RunId) -> Result<Vec<RoundView>, Failure> {
    let mut rounds: Vec<RoundView> = Vec::new();
    loop {
        let after = rounds.last().map_or(0, |round| round.round);
        let page = session.ask::<RunRounds>(ListRounds { run, after }).await?;
        let is_last = !page.more || page.rounds.is_empty();
        rounds.extend(page.rounds);
        if is_last {
            return Ok(rounds);
        }
    }
}

impl Ended {
    /// The answer alone on stdout, everything else beside it.
    pub(super) fn show(&self, output: Output) -> Result<(), Failure> {
        self.note(output);
        output.show(&self.report, || told(&self.view))
    }

    /// How it went, for the person.
    pub(super) fn note(&self, output: Output) {
        if output.is_json() {
            return;
        }
        output.note(&self.report.summary());
        if let Some(reason) = &self.view.reason {
            output.note(&format!("no answer: {}", text::line(reason)));
        }
    }

    pub(super) fn is_answered(&self) -> bool {
        self.view.state == RunState::Finished
    }
}

fn told(view: &RunView) -> String {
    match &view.answer {
        Some(answer) if answer.ends_with('\n') => answer.clone(),
        Some(answer) => format!("{answer}\n"),
        None => String::new(),
    }
}
