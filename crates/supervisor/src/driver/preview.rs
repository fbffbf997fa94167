//! The answer of `up` before anything is stored: computed on a copy of the team. Called by the server for teams that do
//! not exist yet or will be replaced, and by the driver.

use agent_team_core::input::UpSpec;
use agent_team_core::{Answer, Call, Effect, Input, InputContext, Origin, ReplyTo, Team, Tick};
use agent_team_protocol::method::{Change, ChangeKind, UpAnswer};
use agent_team_protocol::spec::TeamSpec;
use agent_team_protocol::{Refusal, TeamId};

use super::views;
use crate::convert;
use crate::settings::TeamPlacement;

/// The answer of `up` for a new team.
pub(crate) fn preview(
    spec: &TeamSpec,
    team_placement: &TeamPlacement,
    now: Tick,
) -> Result<UpAnswer, Refusal> {
    let empty_team = Team::default();
    let wanted = convert::up_spec(spec.clone(), team_placement.clone(), &empty_team);
    try_up(
        &empty_team,
        &TeamId::new(&spec.name, &spec.project),
        team_placement,
        wanted,
        now,
    )
}

/// Computes the answer of `up` on a copy of the state.
pub(super) fn try_up(
    team: &Team,
    id: &TeamId,
    team_placement: &TeamPlacement,
    wanted: UpSpec,
    now: Tick,
) -> Result<UpAnswer, Refusal> {
    let context = InputContext {
        now,
        wall: 0,
        seed: [0; 32],
    };
    let transition = team.clone().advance(
        &context,
        Input::Called {
            by: Origin::User,
            key: None,
            reply: ReplyTo(0),
            call: Box::new(Call::Up(Box::new(wanted))),
        },
    );
    let outcome = transition.effects.into_iter().find_map(|effect| {
        if let Effect::Reply { outcome, .. } = effect {
            Some(outcome)
        } else {
            None
        }
    });
    match outcome {
        Some(Ok(Answer::Up { changes })) => Ok(UpAnswer {
            team: id.clone(),
            revision: team.revision(),
            placement: team_placement.terminal.placement(),
            placement_reason: team_placement.reason.clone(),
            changes: changes.into_iter().map(change).collect(),
        }),
        Some(Err(refused)) => Err(views::refusal(team, &refused)),
        Some(Ok(_)) | None => Err(Refusal::internal("unexpected answer of the core to up")),
    }
}

pub(super) fn change(change: agent_team_core::Change) -> Change {
    use agent_team_core::{ChangeKind as Core, Changed};
    let what = match change.what {
        Changed::Member(name) => format!("member {name}"),
        Changed::Task(key) => format!("task {key}"),
    };
    let (kind, note) = match change.change {
        Core::Started => (ChangeKind::Started, None),
        Core::Restarted => (ChangeKind::Restarted, None),
        Core::Stopped => (ChangeKind::Stopped, None),
        Core::Added => (ChangeKind::Added, None),
        Core::AddedAfter { completed, task } => {
            let note = format!(
                "{completed} completed before its entry changed, so it runs again as {task}"
            );
            (ChangeKind::Added, Some(note))
        }
        Core::Updated => (ChangeKind::Updated, None),
        Core::Retried(task) => {
            let note = format!("its entry changed, so {task} is pending again");
            (ChangeKind::Retried, Some(note))
        }
        Core::Cancelled => (ChangeKind::Cancelled, None),
        Core::LeftInProgress => (ChangeKind::Left, Some("it is in progress".to_owned())),
    };
    Change {
        what,
        change: kind,
        note,
    }
}
