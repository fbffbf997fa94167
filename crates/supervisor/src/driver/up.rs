//! The `up` call: turns the team specification into one change of the core, or previews it (`dry_run`).

use agent_team_core::input::UpPlan;
use agent_team_core::{Answer, Call, CallKey, Context, Effect, Input, Origin, ReplyTo, Team, Tick};
use agent_team_protocol::method::{Change, ChangeKind, UpAnswer};
use agent_team_protocol::spec::TeamSpec;
use agent_team_protocol::view::Placement;
use agent_team_protocol::{ErrorCode, Refusal, TeamId};
use agent_team_system::private_file;

use super::waiters::ReplyShape;
use super::{Driver, UpRequest};
use crate::outbox::Reply;
use crate::settings::TeamPlacement;
use crate::{convert, permission};

impl Driver {
    pub(super) fn up(&mut self, by: Origin, key: Option<CallKey>, reply: Reply, wanted: UpRequest) {
        let UpRequest {
            mut spec,
            environment,
            mut team_placement,
            dry_run,
        } = wanted;
        team_placement = self.placement_of_up(&team_placement).clone();
        let checked = convert::check_engines(&spec)
            .and_then(|()| permission::check(&spec))
            .and_then(|()| permission::inform_agents(&mut spec));
        if let Err(refusal) = checked {
            return reply.refuse(refusal);
        }
        let plan = convert::up_plan(spec, team_placement.clone(), &self.team);
        // The environment file marks a team as up, so a refused `up` must not write it: the plan is tried on a copy
        // of the state first.
        let answer = match try_up(
            &self.team,
            &self.identity.team,
            &team_placement,
            plan.clone(),
            self.now(),
        ) {
            Ok(answer) => answer,
            Err(refusal) => return reply.refuse(refusal),
        };
        if dry_run {
            return reply.ok(&answer);
        }
        let environment = serde_json::to_vec(&environment).expect("an environment has string keys");
        let file = self
            .directories
            .environment_file(self.identity.team.as_str());
        if let Err(error) = private_file::replace(&file, &environment) {
            let text = format!(
                "cannot write the team's environment to {}: {error}",
                file.display()
            );
            reply.refuse(Refusal::new(ErrorCode::StorageFull, text));
            return;
        }
        let shape = self.shape_of_up(&team_placement);
        self.call(by, key, reply, shape, Call::Up(Box::new(plan)));
        // Before the launches of this batch: the launcher must know the placement before its first start order.
        self.send_placement();
    }

    /// A team that is up keeps its placement.
    fn placement_of_up<'a>(&'a self, wanted: &'a TeamPlacement) -> &'a TeamPlacement {
        match self.settings.team() {
            Some(settings) if !self.team.is_down() => &settings.team_placement,
            Some(_) | None => wanted,
        }
    }

    pub(super) fn shape_of_up(&self, wanted: &TeamPlacement) -> ReplyShape {
        let team_placement = self.placement_of_up(wanted);
        ReplyShape::Up {
            placement: team_placement.terminal.placement(),
            placement_reason: team_placement.reason.clone(),
        }
    }

    /// Reopens panes, and answers once all members are ready or cannot be started.
    pub(super) fn up_decided(
        &mut self,
        reply: Reply,
        placement: Placement,
        placement_reason: String,
        changes: Vec<agent_team_core::Change>,
    ) {
        let answer = UpAnswer {
            team: self.identity.team.clone(),
            revision: self.team.revision(),
            placement,
            placement_reason,
            changes: changes.into_iter().map(change).collect(),
        };
        self.reopen_all();
        self.waiters.add_up(answer, reply);
    }
}

/// The answer of `up` for a team that does not exist yet.
pub(crate) fn preview(
    spec: &TeamSpec,
    team_placement: &TeamPlacement,
    now: Tick,
) -> Result<UpAnswer, Refusal> {
    let empty_team = Team::default();
    let plan = convert::up_plan(spec.clone(), team_placement.clone(), &empty_team);
    try_up(
        &empty_team,
        &TeamId::new(&spec.name, &spec.project),
        team_placement,
        plan,
        now,
    )
}

/// Computes the answer of `up` on a copy of the state.
fn try_up(
    team: &Team,
    id: &TeamId,
    team_placement: &TeamPlacement,
    plan: UpPlan,
    now: Tick,
) -> Result<UpAnswer, Refusal> {
    let context = Context {
        now,
        wall: 0,
        seed: [0; 32],
    };
    let step = team.clone().step(
        &context,
        Input::Called {
            by: Origin::User,
            key: None,
            reply: ReplyTo(0),
            call: Box::new(Call::Up(Box::new(plan))),
        },
    );
    let outcome = step.effects.into_iter().find_map(|effect| {
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
        Some(Err(refused)) => Err(convert::refusal(&refused)),
        Some(Ok(_)) | None => Err(Refusal::internal("unexpected answer of the core to up")),
    }
}

fn change(change: agent_team_core::Change) -> Change {
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
        Core::Updated => (ChangeKind::Updated, None),
        Core::Cancelled => (ChangeKind::Cancelled, None),
        Core::LeftInProgress => (ChangeKind::Left, Some("it is in progress".to_owned())),
    };
    Change {
        what,
        change: kind,
        note,
    }
}
