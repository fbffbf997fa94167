//! Applies events to the team: the only mutation. Called by the decider for new events, and by replay. It decides and
//! refuses nothing: an event has already happened.
//!
//! Each family of events has its function in a file of `apply/`; the clocks, which most of them change, are here.

mod kept;
mod members;
mod messages;
mod requests;
mod runs;
mod tasks;

use agent_team_protocol::id::{MemberName, Party, Revision};

use super::Team;
use crate::team::event::{Event, Record};
use crate::team::member::Life;
use crate::team::restarts::Restarts;
use crate::team::task::Task;
use crate::time::Tick;

impl Team {
    /// Applies one event. Replaying a journal calls nothing else.
    ///
    /// Returns a completed task, which leaves the board.
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
        let tick = record.tick;
        match &record.event {
            Event::TeamPlanned { plan } => self.plan = plan.clone(),
            Event::Booted { boot } => {
                self.boot = Some(boot.clone());
                self.answers.rebooted(tick);
                self.account.up.void();
                self.account.working.void();
                for member in self.members.values_mut() {
                    member.account.up.void();
                    member.account.working.void();
                    member.since = tick;
                    member.restarts = Restarts::default();
                }
            }
            Event::MemberAdded { .. }
            | Event::MemberChanged { .. }
            | Event::MemberRemoved { .. }
            | Event::MemberWanted { .. }
            | Event::LaunchStarted { .. }
            | Event::LaunchReady { .. }
            | Event::LaunchAsked { .. }
            | Event::LaunchObjected { .. }
            | Event::LaunchDraining { .. }
            | Event::LaunchEnding { .. }
            | Event::LaunchEnded { .. }
            | Event::MemberParked { .. }
            | Event::MembersSuspended { .. }
            | Event::MemberIdle { .. } => self.apply_members(record),
            Event::TaskAdded { .. }
            | Event::TaskChanged { .. }
            | Event::TaskClaimed { .. }
            | Event::TaskReleased { .. }
            | Event::TaskFailed { .. }
            | Event::TaskCancelled { .. }
            | Event::TaskCompleted { .. }
            | Event::TaskRefused { .. }
            | Event::TaskRetried { .. } => return self.apply_tasks(record),
            Event::MessageAccepted { .. } | Event::MessagesRead { .. } | Event::UserRead { .. } => {
                self.apply_messages(record)
            }
            Event::RunStarted { .. }
            | Event::RunFinished { .. }
            | Event::RunFailed { .. }
            | Event::CoordinatorDecided { .. }
            | Event::RoundStarted { .. }
            | Event::RoundEnded { .. }
            | Event::RunAbandoned { .. }
            | Event::RunIdle { .. }
            | Event::TranscriptGrown { .. }
            | Event::BudgetStands { .. }
            | Event::Remembered { .. } => self.apply_runs(record),
            Event::RequestAsked { .. }
            | Event::RequestAllowed { .. }
            | Event::RequestDenied { .. }
            | Event::RequestWithdrawn { .. }
            | Event::RequestBegun { .. }
            | Event::RequestEnded { .. }
            | Event::GrantRevoked { .. }
            | Event::GrantsEnded { .. } => self.apply_requests(record),
            Event::Counted { .. }
            | Event::KeyCompleted { .. }
            | Event::TasksKept { .. }
            | Event::TaskKept { .. }
            | Event::MemberKept { .. }
            | Event::AccountKept { .. }
            | Event::LockKept { .. }
            | Event::TeamAccountKept { .. }
            | Event::MessageKept { .. }
            | Event::CallAnswered { .. }
            | Event::RequestKept { .. }
            | Event::GrantKept { .. }
            | Event::UserMailKept { .. } => self.apply_kept(record),
            // Stored in the journal only.
            Event::CallAllowed { .. } | Event::CallDenied { .. } => {}
        }
        None
    }

    /// Starts or stops the member's clocks according to what it does now. Call it after every change that can affect
    /// them.
    fn update_clocks(&mut self, name: &MemberName, now: Tick) {
        let Some(member) = self.members.get(name) else {
            return;
        };
        let ready = matches!(member.life, Life::Ready { .. } | Life::StopRequested { .. });
        let busy = member.transcript.active || self.task_of(name).is_some();
        let works = ready && busy && self.out_of_budget(member).is_none();
        let is_so = (member.account.up.runs(), member.account.working.runs()) == (ready, works);
        if is_so {
            return;
        }
        if let Some(member) = self.members.get_mut(name) {
            member.account.up.set(ready, now);
            member.account.working.set(works, now);
        }
        self.update_team_clocks(now);
    }

    fn update_team_clocks(&mut self, now: Tick) {
        let mut accounts = self.members.values().map(|member| &member.account);
        let up = accounts.clone().any(|account| account.up.runs());
        let works = accounts.any(|account| account.working.runs());
        self.account.up.set(up, now);
        self.account.working.set(works, now);
    }

    fn update_all_clocks(&mut self, now: Tick) {
        let names: Vec<MemberName> = self.members.keys().cloned().collect();
        for name in names {
            self.update_clocks(&name, now);
        }
    }
}
