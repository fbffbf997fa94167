//! Asking a member to end: who is in the middle of something may object, and says why. `down`, `kill` and force ask
//! nobody.

use std::sync::Arc;

use agent_team_protocol::id::{MemberName, Party};

use super::{Decided, Turn, party, reason_line};
use crate::answers::Answer;
use crate::event::Event;
use crate::input::Origin;
use crate::mail::MessageNote;
use crate::member::{ANSWER_MS, Asked, GRACE_MS, Life, Then};
use crate::refusal::Refused;

impl Turn<'_> {
    /// Whose word it is was looked at; only the user's may be force.
    pub(super) fn stop(&mut self, by: &Origin, name: &MemberName, force: bool) -> Decided {
        let then = self.stop_or_leave(self.member(name)?);
        self.end_or_ask(by, name, then, force)?;
        Ok(Answer::Member {
            member: name.clone(),
        }
        .into())
    }

    /// Ends a member, or asks it first where it may object.
    pub(super) fn end_or_ask(
        &mut self,
        by: &Origin,
        name: &MemberName,
        then: Then,
        force: bool,
    ) -> Result<(), Refused> {
        let member = self.member(name)?;
        // Who has no turn under way has nothing to object for, and who leads by rounds no words of her own for it.
        let may_object = member.mind.active && !self.team.only_asks(member) && !force;
        match &member.life {
            Life::Ready { .. } if may_object => self.ask_to_end(by, name, then),
            Life::Asked { .. } if !force => {}
            Life::Planned
            | Life::Launching { .. }
            | Life::Ready { .. }
            | Life::Asked { .. }
            | Life::Draining { .. }
            | Life::Ending { .. }
            | Life::Cooling { .. }
            | Life::Held { .. }
            | Life::Stopped => self.end(name, GRACE_MS, then, "it was stopped"),
        }
        Ok(())
    }

    fn ask_to_end(&mut self, by: &Origin, name: &MemberName, then: Then) {
        let Some(launch) = self.team.member(name).and_then(|it| it.life.launch()) else {
            return;
        };
        let launch = launch.id.clone();
        let by = party(by);
        let text = format!(
            "{by} asks you to end. Call answer_shutdown at once: agree, or object with the reason, which {by} is told. \
             Without an answer within {} s you are ended all the same.",
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
            asked: Asked {
                by,
                message,
                answer_by: self.context.now.after_ms(ANSWER_MS),
                then,
            },
        });
    }

    /// `None`: she agrees.
    pub(super) fn answer_stop(&mut self, by: &Origin, objection: Option<Arc<str>>) -> Decided {
        let Origin::Member { name, launch } = by else {
            return Err(Refused::NotPermitted("answer for a member"));
        };
        let Life::Asked { asked, .. } = self.member(name)?.life.clone() else {
            return Err(Refused::NotAskedToEnd);
        };
        let Some(reason) = objection else {
            self.end(name, GRACE_MS, asked.then, "it was stopped");
            return Ok(Answer::Done.into());
        };
        let reason = reason_line(&reason);
        self.forget_asking(name);
        self.record(Event::LaunchObjected {
            member: name.clone(),
            launch: launch.clone(),
            reason: reason.clone(),
        });
        self.tell([asked.by], format!("{name} objects to ending: {reason}"));
        Ok(Answer::Done.into())
    }

    /// What she was asked with, should she not have read it, is nothing for a later launch of hers.
    pub(super) fn forget_asking(&mut self, name: &MemberName) {
        let life = self.team.member(name).map(|member| &member.life);
        let Some(Life::Asked { asked, .. }) = life else {
            return;
        };
        let message = asked.message;
        let _there = self.acknowledge(name, vec![message]);
    }
}
