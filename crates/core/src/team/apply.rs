//! Applies events to the team. Called by the decider for new events, and by replay. This module decides and refuses
//! nothing, because an event has already happened.
//!
//! Each file in `apply/` applies the events of one family, and makes the events of a snapshot that rebuild the state of
//! that family. This file applies the events of the team itself, and updates the clocks, which events of most
//! families start or stop. The events of the family `Notes` change nothing.

mod members;
mod messages;
mod requests;
mod runs;
mod snapshot;
mod tasks;

use agent_team_protocol::id::{MemberName, Party, Revision};

use super::Team;
use crate::team::event::{Family, Record, TeamEvent};
use crate::team::member::Life;
use crate::team::restarts::Restarts;
use crate::team::task::Task;
use crate::time::Tick;

impl Team {
    /// Applies one event, and keeps the answer of the call that it completes.
    ///
    /// Returns the task that the event completed, which leaves the board.
    pub fn apply(&mut self, record: &Record) -> Option<Task> {
        self.revision = Revision(self.revision.0 + 1);
        let completed = self.apply_event(record);
        self.end_grants();
        if let Some(call) = &record.call {
            self.remember(record.tick, (**call).clone());
        }
        completed
    }

    fn end_grants(&mut self) {
        let Self {
            requests, board, ..
        } = self;
        requests.end_with_tasks(|member| {
            let member = Party::Member(member.clone());
            board.claims(&member).next().map(|task| task.id)
        });
    }

    fn apply_event(&mut self, record: &Record) -> Option<Task> {
        match record.event.family() {
            Family::Team(event) => self.apply_team(event, record),
            Family::Members(event) => self.apply_members(event, record),
            Family::Tasks(event) => return self.apply_tasks(event, record),
            Family::Messages(event) => self.apply_messages(event, record.at),
            Family::Runs(event) => self.apply_runs(event, record),
            Family::Requests(event) => self.apply_requests(event, record),
            Family::Kept(event) => self.apply_kept(event, record),
            Family::Notes(_) => {}
        }
        None
    }

    fn apply_team(&mut self, event: TeamEvent<'_>, record: &Record) {
        let tick = record.tick;
        match event {
            TeamEvent::TeamPlanned { spec } => self.spec = spec.clone(),
            TeamEvent::ModeChanged { member, mode } => self.spec.modes.set(member.as_ref(), *mode),
            TeamEvent::Booted { boot } => {
                self.boot = Some(boot.clone());
                self.answers.rebooted(tick);
                self.account.up.stop_at_unknown_time();
                self.account.working.stop_at_unknown_time();
                for member in self.members.values_mut() {
                    member.account.up.stop_at_unknown_time();
                    member.account.working.stop_at_unknown_time();
                    member.since = tick;
                    member.life_since = tick;
                    member.restarts = Restarts::default();
                }
            }
        }
    }

    /// Starts or stops the clocks of the member and of the team, as the member's state requires. Call this function
    /// after every change that can affect a clock.
    fn update_clocks(&mut self, name: &MemberName, now: Tick) {
        let Some(member) = self.members.get(name) else {
            return;
        };
        let ready = matches!(member.life, Life::Ready { .. } | Life::StopRequested { .. });
        let busy = member.transcript.active || self.task_of(name).is_some();
        let asks = self
            .requests
            .pending()
            .any(|request| request.member == *name);
        let working = ready && busy && !asks && self.out_of_budget(member).is_none();
        let is_current = (
            member.account.up.is_running(),
            member.account.working.is_running(),
        ) == (ready, working);
        if is_current {
            return;
        }
        if let Some(member) = self.members.get_mut(name) {
            member.account.up.set(ready, now);
            member.account.working.set(working, now);
        }
        self.update_team_clocks(now);
    }

    fn update_team_clocks(&mut self, now: Tick) {
        let mut accounts = self.members.values().map(|member| &member.account);
        let up = accounts.clone().any(|account| account.up.is_running());
        let working = accounts.any(|account| account.working.is_running());
        self.account.up.set(up, now);
        self.account.working.set(working, now);
    }

    fn update_all_clocks(&mut self, now: Tick) {
        let names: Vec<MemberName> = self.members.keys().cloned().collect();
        for name in names {
            self.update_clocks(&name, now);
        }
    }
}
