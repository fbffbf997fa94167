//! Resumes a team when a supervisor starts: repeats effects that may have been lost, or, after a reboot, ends every
//! launch. Also holds members whose settings this version cannot read.

use std::sync::Arc;

use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::id::MemberName;

use super::Decider;
use super::up::CHANGE_GRACE_MS;
use crate::effect::Effect;
use crate::team::event::Event;
use crate::team::member::{AfterLaunch, Life, Next};

const REBOOTED: &str = "the machine was restarted";

impl Decider<'_> {
    pub(super) fn resume(&mut self, boot: Arc<str>) {
        if self.team.boot.as_ref() != Some(&boot) {
            self.record(Event::Booted { boot });
            for name in
                self.names(|member| !matches!(member.life, Life::Stopped | Life::Held { .. }))
            {
                self.end_by_reboot(&name);
            }
        }
        for name in self.names(|member| member.life.launch().is_some()) {
            self.derive_effects(&name);
        }
        self.unsettled = true;
    }

    /// Stops the member and holds it. Does nothing if the member is stopped or held, or if its stop, removal or hold
    /// was decided before.
    pub(super) fn hold_unreadable(&mut self, name: &MemberName, reason: Arc<str>) {
        let Some(member) = self.team.member(name) else {
            return;
        };
        let is_ending = matches!(member.life, Life::Stopped | Life::Held { .. })
            || matches!(
                member.life.then(),
                Some(AfterLaunch::Stop | AfterLaunch::Remove | AfterLaunch::Hold { .. })
            );
        if !is_ending {
            let then = AfterLaunch::Hold { reason };
            self.end(
                name,
                CHANGE_GRACE_MS,
                then,
                "was stopped: its settings cannot be read",
            );
        }
    }

    /// Ends the member's launch, whose processes ended with the reboot. The member enters the state that was decided
    /// for the end of the launch, but a member that would start again is held instead.
    fn end_by_reboot(&mut self, name: &MemberName) {
        let then = self.team.member(name).and_then(|member| member.life.then());
        let (next, leaves) = match then.cloned() {
            Some(AfterLaunch::Stop) => (Next::Stop, false),
            Some(AfterLaunch::Remove) => (Next::Stop, true),
            Some(AfterLaunch::Hold { reason }) => (Next::Hold { reason }, false),
            Some(AfterLaunch::Restart | AfterLaunch::Recover { .. }) | None => {
                let reason = format!("{REBOOTED}: run {}", CommandLine::Up).into();
                (Next::Hold { reason }, false)
            }
        };
        self.park(name, next, REBOOTED);
        if leaves {
            self.remove(name);
        }
    }

    /// Repeats the effects that the state of a launch requires: the previous supervisor may have died before it carried
    /// out the effects.
    fn derive_effects(&mut self, name: &MemberName) {
        let Some(member) = self.team.member(name) else {
            return;
        };
        match &member.life {
            Life::Ending { .. } => self.end_tree(name),
            Life::Draining {
                launch,
                kill_at,
                reason,
                ..
            } => {
                let grace_ms = kill_at.since(self.context.now);
                let (member, launch, reason) = (name.clone(), launch.id.clone(), reason.clone());
                self.effect(Effect::RequestStop {
                    member,
                    launch,
                    grace_ms,
                    reason,
                });
            }
            Life::Ready { .. } | Life::StopRequested { .. } if !member.inbox.is_empty() => self
                .effect(Effect::Deliver {
                    member: name.clone(),
                }),
            Life::Planned
            | Life::Launching { .. }
            | Life::Ready { .. }
            | Life::StopRequested { .. }
            | Life::Cooling { .. }
            | Life::Held { .. }
            | Life::Stopped => {}
        }
    }
}
