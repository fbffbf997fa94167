//! Stop requests: a member in a turn may object and give a reason. `down`, `kill`, `restart`, `up` and `--force` stop
//! members without a request.

use std::sync::Arc;

use agent_team_protocol::id::{MemberName, Party};
use agent_team_protocol::value::MessageNote;

use super::{CallResult, Decider, party, reason_line};
use crate::input::Origin;
use crate::refusal::Refused;
use crate::team::answers::Answer;
use crate::team::event::Event;
use crate::team::member::{ANSWER_MS, AfterLaunch, GRACE_MS, Life, StopRequest};

impl Decider<'_> {
    /// Handles a request to stop a member. The caller has been checked: only the user may set `force`.
    pub(super) fn stop(&mut self, by: &Origin, name: &MemberName, force: bool) -> CallResult {
        let then = self.stop_or_leave(self.member(name)?);
        self.stop_or_request(by, name, then, force)?;
        Ok(Answer::Member {
            member: name.clone(),
        }
        .into())
    }

    /// Stops the member, or asks it to stop if it may object.
    pub(super) fn stop_or_request(
        &mut self,
        by: &Origin,
        name: &MemberName,
        then: AfterLaunch,
        force: bool,
    ) -> Result<(), Refused> {
        let member = self.member(name)?;
        // Outside a turn there is no work to interrupt. The lead of a team in rounds has no tool to object with.
        let may_object = member.transcript.active && !self.team.leads_in_rounds(member) && !force;
        match &member.life {
            Life::Ready { .. } if may_object => self.request_stop(by, name, then),
            Life::StopRequested { .. } if !force => {}
            Life::Planned
            | Life::Launching { .. }
            | Life::Ready { .. }
            | Life::StopRequested { .. }
            | Life::Draining { .. }
            | Life::Ending { .. }
            | Life::Cooling { .. }
            | Life::Held { .. }
            | Life::Stopped => self.end(name, GRACE_MS, then, &stopped_by(&party(by))),
        }
        Ok(())
    }

    fn request_stop(&mut self, by: &Origin, name: &MemberName, then: AfterLaunch) {
        let Some(launch) = self.team.member(name).and_then(|it| it.life.launch()) else {
            return;
        };
        let launch = launch.id.clone();
        let by = party(by);
        let text = format!(
            "{by} asks you to stop. Call answer_shutdown now: agree, or object with a reason, which is sent to {by}. \
             If you do not answer within {} s, you are stopped anyway.",
            ANSWER_MS / 1_000
        );
        let to = vec![Party::Member(name.clone())];
        let message = self.accept(
            Party::System,
            to,
            text.into(),
            true,
            None,
            MessageNote::default(),
        );
        self.record(Event::LaunchAsked {
            member: name.clone(),
            launch,
            stop_request: StopRequest {
                by,
                message,
                answer_by: self.context.now.after_ms(ANSWER_MS),
                then,
            },
        });
    }

    /// Handles the member's answer to a stop request. `objection`: `None` if the member agrees.
    pub(super) fn answer_stop(&mut self, by: &Origin, objection: Option<Arc<str>>) -> CallResult {
        let (name, launch) = by.member()?;
        let Life::StopRequested { stop_request, .. } = self.member(name)?.life.clone() else {
            return Err(Refused::NoStopRequest);
        };
        let Some(reason) = objection else {
            self.end(
                name,
                GRACE_MS,
                stop_request.then,
                &stopped_by(&stop_request.by),
            );
            return Ok(Answer::Done.into());
        };
        let reason = reason_line(&reason);
        self.acknowledge_stop_request(name);
        self.record(Event::LaunchObjected {
            member: name.clone(),
            launch: launch.clone(),
            reason: reason.clone(),
        });
        self.notify(
            [stop_request.by],
            format!("{name} objects to the stop: {reason}"),
        );
        Ok(Answer::Done.into())
    }

    /// Marks the stop request as read, so that a later launch of the member does not receive it.
    pub(super) fn acknowledge_stop_request(&mut self, name: &MemberName) {
        let life = self.team.member(name).map(|member| &member.life);
        let Some(Life::StopRequested { stop_request, .. }) = life else {
            return;
        };
        let message = stop_request.message;
        let _acknowledged = self.acknowledge(name, vec![message]);
    }
}

/// What happened to a member that a party has stopped: the sentence begins with the member's name.
pub(super) fn stopped_by(by: &Party) -> String {
    match by {
        Party::User => "was stopped".to_owned(),
        Party::Member(_) | Party::System => format!("was stopped by {by}"),
    }
}
