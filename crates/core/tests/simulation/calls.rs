//! Callers of the simulated team: their calls, and checks of the replies.

use std::collections::{BTreeMap, BTreeSet};

use agent_team_core::effect::Effect;
use agent_team_core::input::{Call, Input, Origin, ReplyTo, UpSpec};
use agent_team_core::member::Life;
use agent_team_core::task::TaskState;
use agent_team_core::{Answer, CallKey, Caller, Event, Record, Refused, Tick, Transition};
use agent_team_protocol::id::{MemberName, TaskId};

use crate::command::{Ask, By};
use crate::environment::Pending;
use crate::world::{World, pick};

/// How long a client's answers are kept at least, after the last of them was added.
const KEPT_MS: u64 = 600_000;

/// A call as its caller remembers it.
#[derive(Debug, Clone)]
pub(crate) struct MadeCall {
    pub(crate) by: Origin,
    pub(crate) key: Option<CallKey>,
    pub(crate) call: Call,
}

#[derive(Default)]
pub(crate) struct Calls {
    keys: u64,
    replies: u64,
    keyed: Vec<MadeCall>,
    /// Calls without a reply so far.
    pub(crate) waiting: BTreeMap<ReplyTo, MadeCall>,
    /// The answers that the core must still have, by caller and key.
    kept: BTreeMap<(Caller, String), (u64, Answer)>,
    /// Calls whose answer may have been dropped, because their client made no call for long.
    doubtful: BTreeSet<(Caller, String)>,
    last_used: BTreeMap<Caller, Tick>,
}

impl Calls {
    pub(crate) fn apply(&mut self, record: &Record) {
        if let Event::LaunchEnded { launch, .. } = &record.event {
            let ended = Caller::Launch(launch.clone());
            self.kept.retain(|(caller, _), _| *caller != ended);
        } else if let Event::Booted { .. } = &record.event {
            let is_launch = |caller: &Caller| matches!(caller, Caller::Launch(_));
            self.kept.retain(|(caller, _), _| !is_launch(caller));
            // The last call before the reboot may have dropped the answers of a client that made no call for long.
            let last_call = self.last_used.values().max().copied().unwrap_or_default();
            let was_away: BTreeSet<Caller> = self
                .last_used
                .keys()
                .filter(|it| !self.is_fresh(it, last_call))
                .cloned()
                .collect();
            let old = self
                .kept
                .extract_if(.., |(caller, _), _| was_away.contains(caller));
            self.doubtful.extend(old.map(|(key, _)| key));
            for last_used in self.last_used.values_mut() {
                *last_used = record.tick;
            }
        }
        if let Some(call) = &record.call {
            let (caller, now) = (&call.key.caller, record.tick);
            assert!(
                self.kept_answer(&call.key, now).is_none(),
                "the same call takes effect twice"
            );
            if !self.is_fresh(caller, now) {
                let old = self.kept.extract_if(.., |(other, _), _| other == caller);
                self.doubtful.extend(old.map(|(key, _)| key));
            }
            let answer = (call.key.digest, call.answer.clone());
            self.kept.insert(id(&call.key), answer);
            self.last_used.insert(caller.clone(), now);
        }
    }

    /// Whether the core must still have the caller's answers. The core may drop the answers of a client that made no
    /// call for long.
    fn is_fresh(&self, caller: &Caller, now: Tick) -> bool {
        let last_used = self.last_used.get(caller);
        matches!(caller, Caller::Launch(_)) || last_used.is_some_and(|at| now.since(*at) < KEPT_MS)
    }

    /// The first answer to the call, if the core must still have it.
    fn kept_answer(&self, key: &CallKey, now: Tick) -> Option<Result<Answer, Refused>> {
        let (digest, answer) = self
            .kept
            .get(&id(key))
            .filter(|_| self.is_fresh(&key.caller, now))?;
        Some(if *digest == key.digest {
            Ok(answer.clone())
        } else {
            Err(Refused::KeyReused(key.key.clone()))
        })
    }

    fn may_be_kept(&self, key: &CallKey) -> bool {
        self.kept.contains_key(&id(key)) || self.doubtful.contains(&id(key))
    }

    pub(crate) fn forget_waiting(&mut self) {
        self.waiting.clear();
    }
}

impl World {
    pub(crate) fn ask(&mut self, by: &By, ask: &Ask, keyed: bool) {
        let Some((by, caller)) = self.caller(by) else {
            return;
        };
        let call = self.resolve(&by, ask);
        self.make(by, keyed.then_some(caller), call);
    }

    fn caller(&self, by: &By) -> Option<(Origin, Caller)> {
        let member = |(name, launch): (MemberName, _)| {
            (
                Origin::Member {
                    name,
                    launch: Clone::clone(&launch),
                },
                Caller::Launch(launch),
            )
        };
        match by {
            By::User(n) => Some((Origin::User, Caller::Client(format!("client {n}")))),
            By::Former(which) => pick(&self.former, *which).cloned().map(member),
            By::Member(which) => {
                // A worker has a connection only after its hello. Frames of a worker that is ending may still arrive.
                let connected: Vec<_> = self
                    .team
                    .members()
                    .filter(|it| {
                        !matches!(it.life, Life::Launching { .. }) && it.life.process().is_some()
                    })
                    .filter_map(|it| Some((it.spec.name.clone(), it.life.launch()?.id.clone())))
                    .collect();
                pick(&connected, *which).cloned().map(member)
            }
        }
    }

    /// Makes a new call and checks the reply.
    pub(crate) fn make(
        &mut self,
        by: Origin,
        caller: Option<Caller>,
        call: Call,
    ) -> Option<Result<Answer, Refused>> {
        let key = caller.map(|caller| {
            self.calls.keys += 1;
            CallKey {
                caller,
                key: format!("key {}", self.calls.keys),
                digest: digest(&call),
            }
        });
        let made = MadeCall { by, key, call };
        if made.key.is_some() {
            self.calls.keyed.push(made.clone());
        }
        self.send(made)
    }

    pub(crate) fn send(&mut self, made: MadeCall) -> Option<Result<Answer, Refused>> {
        let key = made.key.as_ref();
        let expected = key.and_then(|key| self.calls.kept_answer(key, self.now));
        let is_known = key.is_some_and(|key| self.calls.may_be_kept(key));
        let before = self.team.clone();
        self.calls.replies += 1;
        let reply = ReplyTo(self.calls.replies);
        self.calls.waiting.insert(reply, made.clone());
        let transition = self.advance_naming(
            Input::Called {
                by: made.by.clone(),
                key: made.key.clone(),
                reply,
                call: Box::new(made.call.clone()),
            },
            named(&made.call),
        );
        let outcome = reply_in(&transition);
        if let Some(expected) = expected {
            assert_eq!(
                outcome,
                Some(expected),
                "a repeated call gets another answer: {made:?}"
            );
            assert!(
                transition.records.is_empty() && transition.effects.len() == 1,
                "a repeated call has records or more effects: {transition:?}"
            );
        } else if let Some(Err(refused)) = &outcome
            && !matches!(refused, Refused::CompletionRefused { .. })
        {
            assert!(
                transition.records.is_empty() && self.team == before,
                "a refusal changes the team: {made:?} {refused}"
            );
        } else if !is_known && self.must_be_refused(&made, &before) {
            panic!("the call is not refused: {made:?} {outcome:?}");
        }
        if let (false, Some(Ok(_)), Call::Up(spec)) = (is_known, &outcome, &made.call) {
            self.check_up_again(spec);
        }
        outcome
    }

    /// Whether the call comes from a stale launch or acts on a stale claim.
    fn must_be_refused(&self, made: &MadeCall, before: &agent_team_core::Team) -> bool {
        let is_stale = match &made.by {
            Origin::User => false,
            Origin::Member { name, launch } => before
                .member_of(launch)
                .is_none_or(|member| member.spec.name != *name),
        };
        let (Call::CompleteTask { claim, .. }
        | Call::FailTask { claim, .. }
        | Call::ReleaseTask { claim, .. }) = &made.call
        else {
            return is_stale;
        };
        let current = before
            .board()
            .get(claim.task)
            .filter(|task| task.owner().is_some())
            .map(|task| task.generation);
        is_stale
            || current.is_none()
            || claim.generation.is_some_and(|given| Some(given) != current)
    }

    fn check_up_again(&self, spec: &UpSpec) {
        let call = Box::new(Call::Up(Box::new(spec.clone())));
        let input = Input::Called {
            by: Origin::User,
            key: None,
            reply: ReplyTo(0),
            call,
        };
        let transition = self.team.clone().advance(&self.context(), input);
        assert!(
            transition.records.is_empty(),
            "a second up changes nothing: {:?}",
            transition.records
        );
        let Some(Ok(Answer::Up { changes })) = reply_in(&transition) else {
            panic!("a second up is refused or not answered: {transition:?}");
        };
        let is_left_in_progress =
            |it: &agent_team_core::Change| it.change == agent_team_core::ChangeKind::LeftInProgress;
        assert!(
            changes.iter().all(is_left_in_progress),
            "a second up changes more: {changes:?}"
        );
    }

    pub(crate) fn repeat(&mut self, which: u8, changed: bool) {
        let Some(mut made) = pick(&self.calls.keyed, which).cloned() else {
            return;
        };
        if changed && let Some(key) = &mut made.key {
            key.digest ^= 1;
        }
        self.send(made);
    }

    /// After a crash every waiting caller repeats its call if it has a key.
    pub(crate) fn call_again(&mut self) {
        let waiting = std::mem::take(&mut self.calls.waiting);
        self.pending.extend(
            waiting
                .into_values()
                .filter(|made| made.key.is_some())
                .map(|made| Pending::CallAgain(Box::new(made))),
        );
    }

    /// Of all concurrent claims of a ready task exactly one wins; the user may claim any task.
    pub(crate) fn race(&mut self, task: u8) {
        let task = self.task(task);
        let is_ready =
            self.team.board().get(task).is_some_and(|it| {
                matches!(it.state, TaskState::Pending { .. }) && !it.is_blocked()
            });
        let members = u8::try_from(self.team.members().count()).expect("a small team");
        let mut claimants: Vec<By> = (0..members).map(By::Member).collect();
        claimants.push(By::User(0));
        let mut wins = 0;
        for by in &claimants {
            let Some((by, _)) = self.caller(by) else {
                continue;
            };
            let claim = Call::ClaimTask { task: Some(task) };
            wins += usize::from(matches!(self.make(by, None, claim), Some(Ok(_))));
        }
        assert_eq!(
            wins,
            usize::from(is_ready),
            "the number of claims of {task} that won"
        );
    }
}

pub(crate) fn reply_in(transition: &Transition) -> Option<Result<Answer, Refused>> {
    transition.effects.iter().find_map(|effect| {
        if let Effect::Reply { outcome, .. } = effect {
            Some(outcome.clone())
        } else {
            None
        }
    })
}

/// The task that the call claims by its id, fails or releases.
fn named(call: &Call) -> Option<TaskId> {
    if let Call::ClaimTask { task } = call {
        *task
    } else if let Call::FailTask { claim, .. } | Call::ReleaseTask { claim, .. } = call {
        Some(claim.task)
    } else {
        None
    }
}

fn id(key: &CallKey) -> (Caller, String) {
    (key.caller.clone(), key.key.clone())
}

fn digest(call: &Call) -> u64 {
    format!("{call:?}").bytes().fold(0, |hash: u64, byte| {
        hash.wrapping_mul(31).wrapping_add(byte.into()) << 1
    })
}
