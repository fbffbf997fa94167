//! The `up` call: converts the team specification into one call of the core, or previews the changes (`dry_run`).
//! Called by the driver.

use std::io;
use std::path::Path;

use agent_team_core::{Call, CallKey, Origin};
use agent_team_protocol::method::UpAnswer;
use agent_team_protocol::placement::Placement;
use agent_team_protocol::{ErrorCode, Refusal};
use agent_team_system::private_file;

use super::Driver;
use super::preview::{change, try_up};
use super::replies::ReplyShape;
use super::request::UpRequest;
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
        let spec = convert::up_spec(spec, team_placement.clone(), &self.team);
        // The environment file marks a team as up, so a refused `up` must not write it: the spec is tried on a copy
        // of the state first.
        let answer = match try_up(
            &self.team,
            &self.identity.team,
            &team_placement,
            spec.clone(),
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
            return reply.refuse(environment_refusal(&file, &error));
        }
        let shape = self.shape_of_up(&team_placement);
        self.call(by, key, reply, shape, Call::Up(Box::new(spec)));
        // Send the placement before the launches of this batch: the launcher needs it for its first start order.
        self.send_placement();
    }

    /// The placement of the team after this call. A team that is up keeps its placement.
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

    /// Reopens panes, and answers when each member is ready, cooling down, held or stopped.
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

/// The refusal of an `up` whose environment cannot be stored.
fn environment_refusal(file: &Path, error: &io::Error) -> Refusal {
    let is_full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    );
    let code = match is_full {
        true => ErrorCode::StorageFull,
        false => ErrorCode::StorageFailed,
    };
    let text = format!(
        "cannot write the team's environment to {}: {error}",
        file.display()
    );
    Refusal::new(code, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_disk_is_reported_as_full() {
        let code = |kind: io::ErrorKind| environment_refusal("/f".as_ref(), &kind.into()).code;
        assert_eq!(code(io::ErrorKind::StorageFull), ErrorCode::StorageFull);
        assert_eq!(
            code(io::ErrorKind::PermissionDenied),
            ErrorCode::StorageFailed
        );
    }
}
