//! The lifecycle of members: spawn, kill, restart, down, removal, and the reports about their launches. Requests to
//! stop a member are in `shutdown`.

use std::sync::Arc;

use agent_team_protocol::id::{LaunchId, MemberName, Party};
use agent_team_protocol::value::ProcessStamp;

use super::shutdown::stopped_by;
use super::{CallResult, Decider, reason_line};
use crate::effect::{Effect, Scan};
use crate::input::{Origin, ProcessExit, SpawnSpec, StartFault};
use crate::refusal::Refused;
use crate::team::answers::Answer;
use crate::team::event::Event;
use crate::team::member::{AfterLaunch, GRACE_MS, Life, Member, Next, StopRequest};
use crate::team::restarts::{INTENSITY, RestartDecision};
use crate::team::run::TranscriptSummary;
use crate::team::spec::MemberSpec;

/// How long a member that is restarted on request may take to finish its work, in milliseconds.
const RESTART_GRACE_MS: u64 = 2_000;

/// How long a worker may take from its exit report to its exit, in milliseconds.
const EXIT_REPORT_MS: u64 = 2_000;

impl Decider<'_> {
    pub(super) fn spawn(&mut self, requested: SpawnSpec) -> CallResult {
        let name = match requested.name {
            Some(name) if name.is_reserved() => return Err(Refused::ReservedName(name)),
            Some(name) => name,
            None => self.next_name(requested.role.as_str())?,
        };
        if self.team.member(&name).is_some() {
            return Err(Refused::NameTaken(name));
        }
        self.check_member_limit(1)?;
        let spec = MemberSpec {
            name: name.clone(),
            role: requested.role,
            by_hand: true,
            lead: false,
            ..requested.like
        };
        self.record(Event::MemberAdded { spec });
        self.record(Event::MemberWanted {
            member: name.clone(),
        });
        Ok(Answer::Member { member: name }.into())
    }

    fn next_name(&self, role: &str) -> Result<MemberName, Refused> {
        let mut number = self.team.spawned.get(role).copied().unwrap_or(0);
        loop {
            number = number.saturating_add(1);
            let name = format!("{role}-{number}");
            let name: MemberName = name.parse().map_err(|_| Refused::TooLarge {
                what: "the member name for this role".into(),
                bytes: name.len(),
                limit: agent_team_protocol::id::NAME_MAX,
            })?;
            // A member of another role may have this name.
            if self.team.member(&name).is_none() || number == u64::MAX {
                return Ok(name);
            }
        }
    }

    pub(super) fn check_member_limit(&self, more: usize) -> Result<(), Refused> {
        let wanted = self
            .team
            .members()
            .filter(|member| !member.spec.lead && !member.is_stopped())
            .count()
            + more;
        let limit = self.team.spec.teammates;
        if wanted > limit as usize {
            Err(Refused::TooManyMembers { wanted, limit })
        } else {
            Ok(())
        }
    }

    pub(super) fn kill(&mut self, name: &MemberName) -> CallResult {
        let then = self.stop_or_leave(self.member(name)?);
        self.end(name, 0, then, "was killed");
        Ok(Answer::Member {
            member: name.clone(),
        }
        .into())
    }

    pub(super) fn restart(&mut self, name: &MemberName) -> CallResult {
        let member = self.member(name)?;
        if member.is_leaving() {
            return Err(Refused::UnknownMember(name.to_string()));
        }
        if member.is_stopped() && !member.spec.lead {
            self.check_member_limit(1)?;
        }
        self.end(
            name,
            RESTART_GRACE_MS,
            AfterLaunch::Restart,
            "was restarted",
        );
        Ok(Answer::Member {
            member: name.clone(),
        }
        .into())
    }

    pub(super) fn down(&mut self, force: bool) -> CallResult {
        self.end_all(if force { 0 } else { GRACE_MS }, "went down with the team");
        if !self.team.requests.grants().is_empty() {
            self.record(Event::GrantsEnded {});
        }
        Ok(Answer::Done.into())
    }

    pub(super) fn end_all(&mut self, grace_ms: u64, reason: &str) {
        let running = self.team.members().filter(|member| !member.is_stopped());
        let running: Vec<(MemberName, AfterLaunch)> = running
            .map(|member| (member.spec.name.clone(), self.stop_or_leave(member)))
            .collect();
        let spawned: Vec<MemberName> = running
            .iter()
            .filter(|(_, then)| *then == AfterLaunch::Stop)
            .filter_map(|(name, _)| self.team.member(name))
            .filter(|member| member.spec.by_hand)
            .map(|member| member.spec.name.clone())
            .collect();
        for (name, then) in running {
            self.end(&name, grace_ms, then, reason);
        }
        if !spawned.is_empty() {
            self.record(Event::MembersSuspended { members: spawned });
        }
    }

    /// Stops a spawned member and removes it from the team, which frees its name.
    pub(super) fn remove_member(
        &mut self,
        by: &Origin,
        name: &MemberName,
        force: bool,
    ) -> CallResult {
        let member = self.member(name)?;
        if !member.spec.by_hand {
            return Err(Refused::InTeamFile(name.clone()));
        }
        self.stop_or_request(by, name, AfterLaunch::Remove, force)?;
        Ok(Answer::Removed {
            member: name.clone(),
        }
        .into())
    }

    /// The next state after a stop: a member that is marked for removal leaves the team; every other member is stopped.
    pub(super) fn stop_or_leave(&self, member: &Member) -> AfterLaunch {
        if member.is_leaving() {
            AfterLaunch::Remove
        } else {
            AfterLaunch::Stop
        }
    }

    /// Ends the member's launch, or its wait for the next launch; `then` is the member's next state. Without a grace
    /// period, or before the worker is ready, the process tree is killed immediately. `cause` continues a sentence that
    /// begins with the member's name: the user reads this sentence in the pane, on the board and in the events.
    pub(super) fn end(&mut self, name: &MemberName, grace_ms: u64, then: AfterLaunch, cause: &str) {
        let Some(member) = self.team.member(name) else {
            return;
        };
        let reason: Arc<str> = format!("{name} {cause}").into();
        let (life, member_is_suspended) = (member.life.clone(), member.suspended);
        match life {
            Life::Planned | Life::Cooling { .. } | Life::Held { .. } | Life::Stopped => {
                let next = match then.clone() {
                    AfterLaunch::Restart => {
                        self.record(Event::MemberWanted {
                            member: name.clone(),
                        });
                        return;
                    }
                    AfterLaunch::Hold { reason } => Next::Hold { reason },
                    AfterLaunch::Stop | AfterLaunch::Remove | AfterLaunch::Recover { .. } => {
                        Next::Stop
                    }
                };
                if life != Life::Stopped || member_is_suspended {
                    self.park(name, next, &reason);
                }
                if then == AfterLaunch::Remove {
                    self.remove(name);
                }
            }
            Life::Ready { launch, .. } | Life::StopRequested { launch, .. } if grace_ms > 0 => {
                self.acknowledge_stop_request(name);
                if matches!(then, AfterLaunch::Stop | AfterLaunch::Remove) {
                    // The member will not receive another decision, and must not wait for a decision while it exits.
                    self.withdraw_open_requests(name);
                }
                let kill_at = self.context.now.after_ms(grace_ms);
                let (member, launch) = (name.clone(), launch.id);
                self.record(Event::LaunchDraining {
                    member: member.clone(),
                    launch: launch.clone(),
                    kill_at,
                    then,
                    reason: reason.clone(),
                });
                self.effect(Effect::RequestStop {
                    member,
                    launch,
                    grace_ms,
                    reason,
                });
            }
            Life::Draining {
                launch,
                kill_at,
                then: before,
                ..
            } if grace_ms > 0 => {
                if before != then {
                    self.record(Event::LaunchDraining {
                        member: name.clone(),
                        launch: launch.id,
                        kill_at,
                        then,
                        reason,
                    });
                }
            }
            Life::Ready { .. }
            | Life::StopRequested { .. }
            | Life::Draining { .. }
            | Life::Launching { .. } => {
                self.end_launch(name, reason, then);
            }
            Life::Ending {
                launch,
                then: before,
                reason,
                ..
            } => {
                if before != then {
                    self.record(Event::LaunchEnding {
                        member: name.clone(),
                        launch: launch.id,
                        reason,
                        then,
                    });
                }
            }
        }
    }

    /// Ends the launch without a grace period: its whole process tree is killed.
    fn end_launch(&mut self, name: &MemberName, reason: Arc<str>, then: AfterLaunch) {
        let Some(launch) = self
            .team
            .member(name)
            .and_then(|member| member.life.launch())
        else {
            return;
        };
        let launch = launch.id.clone();
        self.acknowledge_stop_request(name);
        self.record(Event::LaunchEnding {
            member: name.clone(),
            launch,
            reason,
            then,
        });
        self.end_tree(name);
    }

    pub(super) fn end_tree(&mut self, name: &MemberName) {
        let Some(member) = self.team.member(name) else {
            return;
        };
        let Some(launch) = member.life.launch() else {
            return;
        };
        let scan = if self.ran_nothing(member) {
            Scan::ProcessAlone
        } else {
            Scan::Everything
        };
        let (launch, process) = (launch.id.clone(), member.life.process());
        self.effect(Effect::EndTree {
            member: name.clone(),
            launch,
            process,
            scan,
        });
    }

    /// Whether the worker is certainly the launch's only process. The launch must never have held a task. The member
    /// must not have a transcript: an agent can also run programs outside a task.
    fn ran_nothing(&self, member: &Member) -> bool {
        !member.worked
            && member.transcript == TranscriptSummary::default()
            && self.team.task_of(&member.spec.name).is_none()
    }

    pub(super) fn hello_received(&mut self, launch: &LaunchId, process: ProcessStamp) {
        let Some(name) = self.current(launch) else {
            return;
        };
        if let Some(Member {
            life: Life::Launching { .. },
            ..
        }) = self.team.member(&name)
        {
            self.record(Event::LaunchReady {
                member: name.clone(),
                launch: launch.clone(),
                process,
            });
            self.effect(Effect::Deliver { member: name });
        }
    }

    pub(super) fn report_exit(
        &mut self,
        by: &Origin,
        code: i32,
        reason: &str,
        hold: bool,
    ) -> CallResult {
        let (name, launch) = by.member()?;
        let member = self.member(name)?;
        if let Life::Ready { .. } | Life::StopRequested { .. } = member.life {
            let cause = format!("{name} exited: {}", reason_line(reason));
            let (then, cause) = if let Life::StopRequested { stop_request, .. } = &member.life {
                // The member was asked to stop and now exits.
                let cause = format!("{name} {}", stopped_by(&stop_request.by));
                (stop_request.then.clone(), cause)
            } else if hold {
                let reason = reason_line(reason);
                (AfterLaunch::Hold { reason }, cause)
            } else if code == 0 && !member.spec.lead {
                (AfterLaunch::Stop, cause)
            } else {
                let ready_since = Some(member.life_since);
                (AfterLaunch::Recover { ready_since }, cause)
            };
            self.acknowledge_stop_request(name);
            let kill_at = self.context.now.after_ms(EXIT_REPORT_MS);
            self.record(Event::LaunchDraining {
                member: name.clone(),
                launch: launch.clone(),
                kill_at,
                then,
                reason: cause.into(),
            });
        }
        Ok(Answer::Done.into())
    }

    pub(super) fn exited(&mut self, launch: &LaunchId, exit: ProcessExit) {
        let Some(name) = self.current(launch) else {
            return;
        };
        let Some(member) = self.team.member(&name) else {
            return;
        };
        match member.life.clone() {
            Life::Launching { .. } => {
                let reason = format!("{name} {} before it was ready", exit_cause(exit));
                let then = AfterLaunch::Recover { ready_since: None };
                self.end_launch(&name, reason.into(), then);
            }
            Life::Ready { .. } => {
                let then = AfterLaunch::Recover {
                    ready_since: Some(member.life_since),
                };
                let reason = format!("{name} {}", exit_cause(exit));
                self.end_worker(&name, launch, reason.into(), then);
            }
            Life::StopRequested {
                stop_request: StopRequest { then, .. },
                ..
            } => {
                let reason = format!("{name} {}", exit_cause(exit));
                self.end_worker(&name, launch, reason.into(), then);
            }
            Life::Draining { then, reason, .. } => self.end_worker(&name, launch, reason, then),
            Life::Ending { .. }
            | Life::Planned
            | Life::Cooling { .. }
            | Life::Held { .. }
            | Life::Stopped => {}
        }
    }

    /// Ends a launch whose worker has exited. If the worker was the launch's only process and the member continues, the
    /// launch ends immediately. This saves a scan for processes and one commit.
    fn end_worker(
        &mut self,
        name: &MemberName,
        launch: &LaunchId,
        reason: Arc<str>,
        then: AfterLaunch,
    ) {
        let was_only_process = self
            .team
            .member(name)
            .is_some_and(|member| self.ran_nothing(member));
        let relaunches = matches!(then, AfterLaunch::Restart | AfterLaunch::Recover { .. });
        self.end_launch(name, reason, then);
        if was_only_process && relaunches {
            self.tree_gone(launch);
        }
    }

    pub(super) fn not_started(&mut self, launch: &LaunchId, fault: StartFault) {
        let Some(name) = self.current(launch) else {
            return;
        };
        // A late report must neither end a ready launch nor replace the decided next state.
        if !self
            .team
            .member(&name)
            .is_some_and(|member| matches!(member.life, Life::Launching { .. }))
        {
            return;
        }
        match fault {
            StartFault::Failed(why) => {
                let reason = format!("{name} could not be started: {}", reason_line(&why));
                let then = AfterLaunch::Recover { ready_since: None };
                self.end_launch(&name, reason.into(), then);
            }
            StartFault::Permanent(why) => {
                let reason = reason_line(&why);
                let cause = format!("{name} cannot be started: {reason}");
                self.end_launch(&name, cause.into(), AfterLaunch::Hold { reason });
            }
            StartFault::NeverStarted => {
                let reason = format!("{name} was never started");
                self.end_launch(&name, reason.into(), AfterLaunch::Restart);
            }
        }
    }

    pub(super) fn deadline_reached(&mut self) {
        let now = self.context.now;
        if self.team.budget_timers().any(|(due, _)| due <= now) {
            self.unsettled = true;
        }
        self.deny_unanswered();
        for name in self.names(|member| member.timer().is_some_and(|(due, _)| due <= now)) {
            let Some(member) = self.team.member(&name) else {
                continue;
            };
            match member.life.clone() {
                Life::Launching { .. } => {
                    let reason = format!("{name} did not become ready in time");
                    let then = AfterLaunch::Recover { ready_since: None };
                    self.end_launch(&name, reason.into(), then);
                }
                Life::StopRequested { stop_request, .. } => {
                    let by = stopped_by(&stop_request.by);
                    let cause = format!("{by}, without an answer to the request to stop");
                    self.end(&name, GRACE_MS, stop_request.then, &cause);
                }
                Life::Draining { then, reason, .. } => {
                    let reason = format!("{reason}; it did not exit in time");
                    self.end_launch(&name, reason.into(), then);
                }
                Life::Cooling { .. } => {
                    self.record(Event::MemberParked {
                        member: name,
                        next: Next::Launch,
                    });
                }
                Life::Planned
                | Life::Ready { .. }
                | Life::Ending { .. }
                | Life::Held { .. }
                | Life::Stopped => {}
            }
        }
    }

    pub(super) fn tree_gone(&mut self, launch: &LaunchId) {
        let Some(name) = self.current(launch) else {
            return;
        };
        let Some(member) = self.team.member(&name) else {
            return;
        };
        let Life::Ending { reason, then, .. } = member.life.clone() else {
            // The processes were terminated, but the commit that recorded the end failed. The driver has dropped the
            // launch, so nothing else reports that its worker is gone: the member would be ready without a process.
            return self.exited(launch, ProcessExit::Unknown);
        };
        let mut restarts = member.restarts.clone();
        let next = match &then {
            AfterLaunch::Stop | AfterLaunch::Remove => Next::Stop,
            AfterLaunch::Restart => Next::Launch,
            AfterLaunch::Hold { reason } => Next::Hold {
                reason: reason.clone(),
            },
            AfterLaunch::Recover { ready_since } => {
                let (counted, verdict) = restarts.count(self.context, *ready_since);
                restarts = counted;
                match verdict {
                    RestartDecision::AtOnce => Next::Launch,
                    RestartDecision::After(restart_at) => Next::Cool { restart_at },
                    RestartDecision::Hold => Next::Hold {
                        reason: format!(
                            "it died {} times within a minute; the last time, {reason}",
                            INTENSITY + 1
                        )
                        .into(),
                    },
                }
            }
        };
        let ended = Event::LaunchEnded {
            member: name.clone(),
            launch: launch.clone(),
            restarts,
            next: next.clone(),
        };
        self.record_end(&name, ended);
        match next {
            Next::Launch | Next::Cool { .. } => self.fail_lost_claims(&name, &reason),
            Next::Stop => self.return_claims(&name, &reason),
            Next::Hold { reason } => {
                self.return_claims(&name, &format!("{name} is held"));
                let lead = self.lead();
                let has_tasks = self.has_open_tasks_of(&lead);
                let text = format!("{name} is held: {reason}");
                self.inform([lead, Party::User], text, has_tasks);
            }
        }
        if then == AfterLaunch::Remove {
            self.remove(&name);
        }
    }

    /// Enters a lasting state without a launch, and returns the member's claims to the board.
    pub(super) fn park(&mut self, name: &MemberName, next: Next, why: &str) {
        let parked = Event::MemberParked {
            member: name.clone(),
            next,
        };
        self.record_end(name, parked);
        self.return_claims(name, why);
    }

    pub(super) fn remove(&mut self, name: &MemberName) {
        self.free_tasks_for(name);
        self.record(Event::MemberRemoved {
            member: name.clone(),
        });
        self.effect(Effect::ClosePane {
            member: name.clone(),
        });
    }

    pub(super) fn names(&self, which: impl Fn(&Member) -> bool) -> Vec<MemberName> {
        self.team
            .members()
            .filter(|member| which(member))
            .map(|member| member.spec.name.clone())
            .collect()
    }
}

/// How a process exited by itself. The sentence begins with the member's name.
fn exit_cause(exit: ProcessExit) -> String {
    match exit {
        ProcessExit::Unknown => "exited unexpectedly".to_owned(),
        ProcessExit::Status(status) => format!("exited unexpectedly with status {status}"),
        ProcessExit::Signal(signal) => format!("was killed by signal {signal}"),
    }
}
