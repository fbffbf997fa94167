//! Actions outside the core: runs effects, delivers reports, and lets workers act.

use std::collections::BTreeSet;

use agent_team_core::effect::Effect;
use agent_team_core::input::{Call, CompletionHook, Input};
use agent_team_protocol::id::{LaunchId, MemberName};

use crate::calls::MadeCall;
use crate::world::{World, target};

/// The argument `how` of [`World::outside`] with which no fault happens.
pub(crate) const NO_FAULT: u8 = 7;

#[derive(Debug, Clone)]
pub(crate) enum Pending {
    Effect(Effect),
    Report(Input),
    CallAgain(Box<MadeCall>),
}

#[derive(Debug)]
enum Move {
    Pending(usize),
    Hello(LaunchId),
    Work(LaunchId),
    Read(LaunchId),
}

impl World {
    /// Performs one action outside the core; false when no action is left.
    pub(crate) fn outside(&mut self, which: u8, how: u8) -> bool {
        let mut moves = self.moves();
        if moves.is_empty() {
            return false;
        }
        match moves.swap_remove(usize::from(which) % moves.len()) {
            Move::Pending(at) => match self.pending.remove(at).expect("a pending entry") {
                Pending::Effect(effect) => self.carry_out(effect, how),
                Pending::Report(input) => drop(self.advance(input)),
                Pending::CallAgain(made) => drop(self.send(*made)),
            },
            Move::Hello(launch) => self.hello(&launch),
            Move::Work(launch) => self.work(&launch, how),
            Move::Read(launch) => self.read(&launch),
        }
        true
    }

    fn moves(&self) -> Vec<Move> {
        let mut seen: BTreeSet<&MemberName> = BTreeSet::new();
        let mut moves = Vec::new();
        for (at, pending) in self.pending.iter().enumerate() {
            let is_next = match pending {
                Pending::Effect(effect) => target(effect).is_none_or(|member| seen.insert(member)),
                Pending::Report(_) | Pending::CallAgain(_) => true,
            };
            if is_next {
                moves.push(Move::Pending(at));
            }
        }
        for (launch, worker) in self.workers.iter().filter(|(_, worker)| worker.is_alive) {
            if !worker.has_hello && !worker.never_connects {
                moves.push(Move::Hello(launch.clone()));
            }
            if worker.has_hello && worker.task.is_some() {
                moves.push(Move::Work(launch.clone()));
            }
            if !worker.offered.is_empty() {
                moves.push(Move::Read(launch.clone()));
            }
        }
        moves
    }

    pub(crate) fn report(&mut self, input: Input) {
        self.pending.push_back(Pending::Report(input));
    }

    fn carry_out(&mut self, effect: Effect, how: u8) {
        let again = effect.clone();
        match effect {
            Effect::Launch {
                member,
                launch,
                token,
            } => self.launch(member, launch, &token, how),
            Effect::RequestStop { launch, .. } => self.ask_to_stop(&launch, how),
            Effect::EndTree {
                launch,
                process,
                scan,
                ..
            } => {
                let has_processes = self
                    .workers
                    .get(&launch)
                    .is_some_and(|worker| worker.may_have_processes());
                self.kill(&launch, process, scan);
                if has_processes && how.is_multiple_of(4) {
                    // Some process of the tree is slow to exit.
                    self.pending.push_back(Pending::Effect(again));
                } else {
                    self.workers.remove(&launch);
                    self.retired.insert(launch.clone());
                    self.report(Input::TreeGone { launch });
                }
            }
            Effect::Assign { member, .. } => {
                let owned = self.owned(&member);
                if let Some(worker) = self.connected(&member) {
                    worker.has_worked |= owned.is_some();
                    worker.task = owned;
                }
            }
            Effect::Abandon {
                member,
                task,
                generation,
                ..
            } => {
                if let Some(worker) = self.connected(&member)
                    && worker.task == Some((task, generation))
                {
                    worker.task = None;
                }
            }
            Effect::Deliver { member } => self.deliver(&member),
            Effect::RunCompletionHook {
                by,
                key,
                reply,
                claim,
                result,
            } => {
                let hook = if how.is_multiple_of(3) {
                    CompletionHook::Refused("not yet".into())
                } else {
                    CompletionHook::Passed
                };
                let call = Box::new(Call::CompleteTask {
                    claim,
                    result,
                    hook,
                });
                self.advance(Input::Called {
                    by,
                    key,
                    reply,
                    call,
                });
            }
            Effect::RunIdleHook { launch, .. } => {
                if how.is_multiple_of(2) {
                    self.report(Input::IdleRefused {
                        launch,
                        reason: "look again".into(),
                    });
                }
            }
            Effect::Reply { to, .. } => drop(self.calls.waiting.remove(&to)),
            Effect::ClosePane { .. }
            | Effect::Inform { .. }
            | Effect::InformOfMode { .. }
            | Effect::SendAllowance { .. } => {}
        }
    }
}
