//! Simulated workers: they connect, work, read messages, report their exit and die, sometimes incorrectly.

use agent_team_core::effect::Scan;
use agent_team_core::input::{Call, ClaimRef, Input, Origin, ProcessExit, StartFault};
use agent_team_core::mail::InboxCursor;
use agent_team_core::member::Life;
use agent_team_core::time::TokenHash;
use agent_team_core::{Answer, Caller, Refused, Team};
use agent_team_protocol::id::{Generation, LaunchId, MemberName, MessageId, TaskId};
use agent_team_protocol::value::ProcessStamp;

use crate::command_calls::complete;
use crate::environment::NO_FAULT;
use crate::world::{World, pick};

/// The processes of one launch. Removed when none is left.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) member: MemberName,
    pub(crate) process: ProcessStamp,
    /// Whether the worker's own process lives; its children can outlive it.
    pub(crate) is_alive: bool,
    pub(crate) has_hello: bool,
    pub(crate) never_connects: bool,
    /// The claim that the worker acts on; it may be stale.
    pub(crate) task: Option<(TaskId, Generation)>,
    pub(crate) has_worked: bool,
    cursor: InboxCursor,
    pub(crate) offered: Vec<MessageId>,
}

impl Worker {
    /// Whether the worker lives, or may have left children behind.
    pub(crate) fn may_have_processes(&self) -> bool {
        self.is_alive || self.has_worked
    }

    pub(crate) fn unread(&self, team: &Team) -> usize {
        team.member(&self.member)
            .map_or(0, |member| member.inbox.len())
    }
}

pub(crate) fn stamp(start_time: u64) -> ProcessStamp {
    ProcessStamp {
        pid: 1_000,
        start_time,
    }
}

impl World {
    pub(crate) fn launch(&mut self, member: MemberName, launch: LaunchId, token: &str, how: u8) {
        if self.retired.contains(&launch) {
            return;
        }
        assert!(
            self.workers
                .values()
                .all(|other| other.member != member || !other.may_have_processes()),
            "{member} runs twice"
        );
        let life = &self
            .team
            .member(&member)
            .expect("a launch belongs to a member")
            .life;
        let hash = &life.launch().expect("the member has a launch").token_hash;
        assert_eq!(
            *hash,
            TokenHash::of(token),
            "the journal has the hash of another token"
        );
        if how.is_multiple_of(16) {
            let fault = if how.is_multiple_of(64) {
                StartFault::Permanent("no such program".into())
            } else {
                StartFault::Failed("tmux says no".into())
            };
            return self.report(Input::NotStarted { launch, fault });
        }
        let worker = Worker {
            member,
            process: stamp(self.now.0),
            is_alive: true,
            has_hello: false,
            never_connects: how % 16 == 1,
            task: None,
            has_worked: false,
            cursor: InboxCursor::default(),
            offered: Vec::new(),
        };
        self.workers.insert(launch, worker);
    }

    pub(crate) fn kill(&mut self, launch: &LaunchId, process: Option<ProcessStamp>, scan: Scan) {
        let Some(worker) = self.workers.get_mut(launch) else {
            return;
        };
        assert!(
            process.is_none_or(|process| process == worker.process),
            "another process is killed"
        );
        assert!(
            scan == Scan::Everything || !worker.has_worked,
            "a worker that held a task is killed without a scan for its children"
        );
        if std::mem::take(&mut worker.is_alive) {
            self.report(Input::Exited {
                launch: launch.clone(),
                exit: ProcessExit::Unknown,
            });
        }
    }

    pub(crate) fn ask_to_stop(&mut self, launch: &LaunchId, how: u8) {
        match how % 3 {
            0 => {}
            1 => self.report_exit(launch, how),
            _ => self.dies(launch),
        }
    }

    fn report_exit(&mut self, launch: &LaunchId, how: u8) {
        if self
            .workers
            .get(launch)
            .is_some_and(|worker| worker.is_alive && worker.has_hello)
        {
            let (code, hold) = (i32::from(how / 8 % 2), how % 32 == 9);
            self.call_as(
                launch,
                Call::ReportExit {
                    code,
                    reason: "that is all".into(),
                    hold,
                },
            );
            self.dies(launch);
        }
    }

    pub(crate) fn die(&mut self, which: u8) {
        let alive: Vec<LaunchId> = self
            .workers
            .iter()
            .filter(|(_, it)| it.is_alive)
            .map(|(launch, _)| launch.clone())
            .collect();
        if let Some(launch) = pick(&alive, which) {
            self.dies(launch);
        }
    }

    /// Kills the worker of one member `deaths` times. No other fault occurs between two deaths.
    pub(crate) fn die_again(&mut self, which: u8, deaths: u8, every_ms: u64) {
        let names: Vec<MemberName> = self.team.members().map(|it| it.spec.name.clone()).collect();
        let Some(name) = pick(&names, which) else {
            return;
        };
        for _ in 0..deaths {
            let started = |it: &Worker| it.member == *name && it.is_alive && it.has_hello;
            for _ in 0..40 {
                if self.workers.values().any(started) {
                    break;
                }
                if !self.outside(0, NO_FAULT) {
                    self.wait(500);
                }
            }
            let launch = self.workers.iter().find(|(_, it)| started(it));
            if let Some(launch) = launch.map(|(launch, _)| launch.clone()) {
                self.wait(every_ms);
                self.dies(&launch);
            }
        }
    }

    fn dies(&mut self, launch: &LaunchId) {
        if let Some(worker) = self.workers.get_mut(launch)
            && std::mem::take(&mut worker.is_alive)
        {
            self.report(Input::Exited {
                launch: launch.clone(),
                exit: ProcessExit::Unknown,
            });
        }
    }

    /// A worker connects: it receives its claim, and is offered all its unread messages.
    pub(crate) fn hello(&mut self, launch: &LaunchId) {
        let worker = &self.workers[launch];
        let (member, process) = (worker.member.clone(), worker.process);
        self.advance(Input::HelloReceived {
            launch: launch.clone(),
            process,
        });
        let owned = self.owned(&member).filter(|_| self.is_trusted(launch));
        let worker = self.workers.get_mut(launch).expect("the worker exists");
        worker.has_hello = true;
        worker.has_worked |= owned.is_some();
        worker.task = owned;
        worker.cursor = InboxCursor::default();
        worker.offered.clear();
        self.deliver(&member);
    }

    /// Whether the launch is current, and ready or draining.
    fn is_trusted(&self, launch: &LaunchId) -> bool {
        let member = self.team.member_of(launch);
        member
            .is_some_and(|member| matches!(member.life, Life::Ready { .. } | Life::Draining { .. }))
    }

    pub(crate) fn owned(&self, member: &MemberName) -> Option<(TaskId, Generation)> {
        self.team
            .task_of(member)
            .map(|task| (task.id, task.generation))
    }

    pub(crate) fn connected(&mut self, member: &MemberName) -> Option<&mut Worker> {
        self.workers
            .values_mut()
            .find(|worker| worker.member == *member && worker.is_alive && worker.has_hello)
    }

    pub(crate) fn deliver(&mut self, member: &MemberName) {
        let Some(inbox) = self.team.member(member).map(|member| member.inbox.clone()) else {
            return;
        };
        let Some(worker) = self.connected(member) else {
            return;
        };
        while let Some((message, _)) = worker.cursor.next(&inbox) {
            assert!(
                !worker.offered.contains(&message),
                "{message} is offered twice over a connection"
            );
            worker.offered.push(message);
        }
    }

    pub(crate) fn read(&mut self, launch: &LaunchId) {
        let worker = self.workers.get_mut(launch).expect("the worker exists");
        let messages = std::mem::take(&mut worker.offered);
        self.call_as(launch, Call::Read { messages });
    }

    /// The worker continues its task, and usually completes it.
    pub(crate) fn work(&mut self, launch: &LaunchId, how: u8) {
        let Some((task, generation)) = self.workers[launch].task else {
            return;
        };
        let claim = ClaimRef {
            task,
            generation: Some(generation),
        };
        let call = match how % 16 {
            0 | 8 => Call::FailTask {
                claim,
                reason: "exit 1".into(),
            },
            1 => Call::ReleaseTask {
                claim,
                note: "too hard".into(),
            },
            2 => return self.report_exit(launch, how),
            3 => return self.dies(launch),
            _ => complete(claim),
        };
        let outcome = self.call_as(launch, call);
        // Without an answer, or after a refusal by a hook, the worker still owns the task; otherwise it has none.
        let still_owns = matches!(outcome, None | Some(Err(Refused::CompletionRefused { .. })));
        if let Some(worker) = self.workers.get_mut(launch)
            && worker.task == Some((task, generation))
            && !still_owns
        {
            worker.task = None;
        }
    }

    fn call_as(&mut self, launch: &LaunchId, call: Call) -> Option<Result<Answer, Refused>> {
        let name = self.workers[launch].member.clone();
        let by = Origin::Member {
            name,
            launch: launch.clone(),
        };
        self.make(by, Some(Caller::Launch(launch.clone())), call)
    }

    /// A new supervisor receives hellos of living workers, and detects dead ones.
    pub(crate) fn find_workers(&mut self) {
        let workers: Vec<(LaunchId, bool, bool)> = self
            .workers
            .iter()
            .map(|(launch, it)| (launch.clone(), it.is_alive, it.has_hello))
            .collect();
        for (launch, is_alive, has_hello) in workers {
            if self.team.member_of(&launch).is_none() {
                // The end of the launch was stored, but its worker was not yet removed from the simulation.
                assert!(!is_alive, "{launch} has ended but its worker lives");
                self.workers.remove(&launch);
            } else if !is_alive {
                let exit = ProcessExit::Unknown;
                self.report(Input::Exited { launch, exit });
            } else if has_hello {
                self.hello(&launch);
            }
        }
        let launching = self
            .team
            .members()
            .filter(|it| matches!(it.life, Life::Launching { .. }));
        let launches: Vec<LaunchId> = launching
            .filter_map(|it| Some(it.life.launch()?.id.clone()))
            .filter(|launch| !self.workers.contains_key(launch))
            .collect();
        for launch in launches {
            self.retired.insert(launch.clone());
            self.report(Input::NotStarted {
                launch,
                fault: StartFault::NeverStarted,
            });
        }
    }
}
