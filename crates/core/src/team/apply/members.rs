//! Events about members and their launches.

use agent_team_protocol::id::MemberName;
use agent_team_protocol::value::ProcessStamp;

use crate::team::Team;
use crate::team::event::{Event, MemberEvent, Record};
use crate::team::member::{AfterLaunch, Launch, Life, Member, Next};
use crate::team::restarts::Restarts;
use crate::time::Tick;

impl Team {
    pub(super) fn apply_members(&mut self, event: MemberEvent<'_>, record: &Record) {
        let tick = record.tick;
        match event {
            MemberEvent::MemberAdded { spec } => {
                self.count_spawned(&spec.name, spec.role.as_str());
                self.members
                    .insert(spec.name.clone(), Member::new(spec.clone(), tick));
            }
            MemberEvent::MemberChanged { spec } => {
                if let Some(member) = self.members.get_mut(&spec.name) {
                    member.spec = spec.clone();
                }
                self.update_clocks(&spec.name, tick);
            }
            MemberEvent::MemberRemoved { member } => {
                self.members.remove(member);
                self.spec.modes.forget(member);
                self.requests.forget(member);
                self.user_mail.withdraw(member);
                self.update_team_clocks(tick);
            }
            MemberEvent::MemberWanted { member } => self.set_life(member, tick, |member| {
                member.restarts = Restarts::default();
                member.suspended = false;
                Life::Planned
            }),
            MemberEvent::LaunchStarted {
                member,
                launch,
                token_hash,
                give_up_at,
            } => self.set_life(member, tick, |member| {
                member.idle_notified = false;
                member.worked = false;
                member.objection = None;
                member.suspended = false;
                Life::Launching {
                    launch: Launch {
                        id: launch.clone(),
                        token_hash: token_hash.clone(),
                    },
                    give_up_at: *give_up_at,
                }
            }),
            MemberEvent::LaunchReady {
                member, process, ..
            } => self.update_launch(member, tick, |launch, _| Life::Ready {
                launch,
                process: *process,
            }),
            MemberEvent::LaunchAsked {
                member,
                stop_request,
                ..
            } => self.set_life(member, tick, |member| {
                member.objection = None;
                let Life::Ready { launch, process } = member.life.clone() else {
                    return member.life.clone();
                };
                Life::StopRequested {
                    launch,
                    process,
                    stop_request: stop_request.clone(),
                }
            }),
            MemberEvent::LaunchObjected { member, reason, .. } => {
                self.set_life(member, tick, |member| {
                    member.objection = Some(reason.clone());
                    let Life::StopRequested {
                        launch, process, ..
                    } = member.life.clone()
                    else {
                        return member.life.clone();
                    };
                    Life::Ready { launch, process }
                })
            }
            MemberEvent::LaunchDraining {
                member,
                kill_at,
                then,
                reason,
                ..
            } => self.update_launch(member, tick, |launch, process| match process {
                Some(process) => Life::Draining {
                    launch,
                    process,
                    kill_at: *kill_at,
                    then: then.clone(),
                    reason: reason.clone(),
                },
                None => Life::Ending {
                    launch,
                    process,
                    reason: format!("{member} was never ready").into(),
                    then: then.clone(),
                },
            }),
            MemberEvent::LaunchEnding {
                member,
                reason,
                then,
                ..
            } => self.update_launch(member, tick, |launch, process| Life::Ending {
                launch,
                process,
                reason: reason.clone(),
                then: then.clone(),
            }),
            MemberEvent::LaunchEnded {
                member,
                launch,
                restarts,
                next,
            } => {
                self.answers.forget_launch(launch);
                self.requests.end(member, next);
                self.set_life(member, tick, |member| {
                    member.restarts = restarts.clone();
                    member.last_end = None;
                    if let Next::Launch | Next::Cool { .. } = next
                        && let Life::Ending { reason, .. } = &member.life
                    {
                        member.last_end = Some(reason.clone());
                    }
                    next.clone().into()
                });
            }
            MemberEvent::MemberParked { member, next } => {
                self.requests.end(member, next);
                self.set_life(member, tick, |member| {
                    member.suspended = false;
                    if !matches!(next, Next::Launch) {
                        member.last_end = None;
                    }
                    next.clone().into()
                })
            }
            MemberEvent::MembersSuspended { members } => {
                for name in members {
                    if let Some(member) = self.members.get_mut(name) {
                        member.suspended = true;
                    }
                }
            }
            MemberEvent::MemberIdle { member } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.idle_notified = true;
                }
            }
        }
    }

    fn set_life(&mut self, name: &MemberName, tick: Tick, next: impl FnOnce(&mut Member) -> Life) {
        if let Some(member) = self.members.get_mut(name) {
            member.life = next(member);
            member.since = tick;
            member.life_since = tick;
        }
        self.update_clocks(name, tick);
    }

    /// Enters a new state of the same launch.
    fn update_launch(
        &mut self,
        name: &MemberName,
        tick: Tick,
        next: impl FnOnce(Launch, Option<ProcessStamp>) -> Life,
    ) {
        self.set_life(name, tick, |member| match member.life.launch() {
            Some(launch) => next(launch.clone(), member.life.process()),
            None => member.life.clone(),
        });
    }

    fn count_spawned(&mut self, name: &MemberName, role: &str) {
        let number = name
            .as_str()
            .strip_prefix(role)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|number| number.parse::<u64>().ok());
        if let Some(number) = number {
            let last = self.spawned.entry(role.into()).or_default();
            *last = number.max(*last);
        }
    }
}

impl Team {
    /// The events that rebuild the members, each with [`Member::since`] of its member.
    pub(in crate::team) fn member_events(&self) -> impl Iterator<Item = (Tick, Event)> {
        self.members.values().flat_map(|member| {
            let events = member_events(member).into_iter();
            events.map(|event| (member.since, event))
        })
    }
}

fn member_events(member: &Member) -> Vec<Event> {
    let name = || member.spec.name.clone();
    let mut events = vec![Event::MemberAdded {
        spec: member.spec.clone(),
    }];
    match &member.life {
        Life::Planned => events.push(parked(name(), Next::Launch)),
        Life::Cooling { restart_at } => events.push(parked(
            name(),
            Next::Cool {
                restart_at: *restart_at,
            },
        )),
        Life::Held { reason } => events.push(parked(
            name(),
            Next::Hold {
                reason: reason.clone(),
            },
        )),
        Life::Stopped => {}
        Life::Launching { launch, .. }
        | Life::Ready { launch, .. }
        | Life::StopRequested { launch, .. }
        | Life::Draining { launch, .. }
        | Life::Ending { launch, .. } => {
            let (id, token_hash) = (launch.id.clone(), launch.token_hash.clone());
            let give_up_at = member.timer().map_or_else(Tick::default, |(at, _)| at);
            events.push(Event::LaunchStarted {
                member: name(),
                launch: id.clone(),
                token_hash,
                give_up_at,
            });
            if let Some(process) = member.life.process() {
                events.push(Event::LaunchReady {
                    member: name(),
                    launch: id.clone(),
                    process,
                });
            }
            #[expect(
                clippy::wildcard_enum_match_arm,
                reason = "the events so far already rebuild the other states"
            )]
            match &member.life {
                Life::StopRequested { stop_request, .. } => events.push(Event::LaunchAsked {
                    member: name(),
                    launch: id,
                    stop_request: stop_request.clone(),
                }),
                Life::Draining {
                    kill_at,
                    then,
                    reason,
                    ..
                } => {
                    let (kill_at, then): (Tick, AfterLaunch) = (*kill_at, then.clone());
                    events.push(Event::LaunchDraining {
                        member: name(),
                        launch: id,
                        kill_at,
                        then,
                        reason: reason.clone(),
                    });
                }
                Life::Ending { reason, then, .. } => {
                    let (reason, then) = (reason.clone(), then.clone());
                    events.push(Event::LaunchEnding {
                        member: name(),
                        launch: id,
                        reason,
                        then,
                    });
                }
                _ => {}
            }
        }
    }
    events.push(Event::MemberKept {
        member: name(),
        restarts: member.restarts.clone(),
        last_result: member.last_result.clone(),
        since: member.since,
        life_since: (member.life_since != member.since).then_some(member.life_since),
        idle_notified: member.idle_notified,
        worked: member.worked,
        objection: member.objection.clone(),
        suspended: member.suspended,
        turn_failure: member.turn_failure.clone(),
        last_end: member.last_end.clone(),
    });
    events
}

fn parked(member: MemberName, next: Next) -> Event {
    Event::MemberParked { member, next }
}
