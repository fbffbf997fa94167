//! The faults of a simulation, one random fault after another, and the user who stops, kills and restarts members.

use std::rc::Rc;
use std::time::Duration;

use agent_team_protocol::Revision;
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::method::{
    EventSubscribe, MemberKill, MemberRestart, MemberStop, Nothing, OneMember, RequestList, Stop,
    Subscribe, TeamShow,
};
use agent_team_protocol::notification::GoodbyeReason;
use agent_team_protocol::request::ListRequests;
use agent_team_protocol::rpc;
use agent_team_protocol::view::MemberState;
use agent_team_supervisor::machine::Failpoint;
use tokio::time::{sleep, timeout};

use super::World;
use super::network::ConnectionSelector;
use crate::torture::caller::{Caller, Phase, Target};
use crate::torture::history::{Dice, Fault, FaultKind};
use crate::torture::nemesis::{RECOVERY, until_answered};
use crate::torture::world::{AGENT, COMMAND_MEMBERS};

/// The faults that a simulation can inject, by their names in the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    KillSupervisor,
    KillWorker,
    KillEverything,
    StopSupervisor,
    StopWorker,
    RestartSupervisor,
    FullDisk,
    CutConnections,
    ClockJump,
    SlowReaders,
    Flood,
}

impl From<Kind> for FaultKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::KillSupervisor => Self::KillSupervisor,
            Kind::KillWorker => Self::KillWorker,
            Kind::KillEverything => Self::KillEverything,
            Kind::StopSupervisor => Self::StopSupervisor,
            Kind::StopWorker => Self::StopWorker,
            Kind::RestartSupervisor => Self::RestartSupervisor,
            Kind::FullDisk => Self::FullDisk,
            Kind::CutConnections => Self::CutConnections,
            Kind::ClockJump => Self::ClockJump,
            Kind::SlowReaders => Self::SlowReaders,
            Kind::Flood => Self::Flood,
        }
    }
}

/// How often each fault happens, relative to the other faults.
const WEIGHTS: [(Kind, u64); 11] = [
    (Kind::KillSupervisor, 24),
    (Kind::KillWorker, 18),
    (Kind::KillEverything, 2),
    (Kind::StopSupervisor, 5),
    (Kind::StopWorker, 8),
    (Kind::RestartSupervisor, 5),
    (Kind::FullDisk, 5),
    (Kind::CutConnections, 16),
    (Kind::ClockJump, 8),
    (Kind::SlowReaders, 4),
    (Kind::Flood, 3),
];

const FAILPOINTS: [Failpoint; 3] = [
    Failpoint::Decided,
    Failpoint::Committed,
    Failpoint::Effected,
];

/// Calls that a flood makes at once.
const FLOOD: usize = 200;

/// How long a supervisor may take to reach the failpoint at which it must crash.
const CRASH_LIMIT: Duration = Duration::from_millis(500);

/// Injects faults for the duration `lasts`.
pub(super) async fn run(world: &Rc<World>, target: &Target, lasts: Duration, mut dice: Dice) {
    let total: u64 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
    while world.recorder.now() < lasts {
        let pause = match dice.below(5) {
            0 => dice.between(1_500, 4_000),
            _ => dice.between(20, 900),
        };
        sleep(pause).await;
        let mut at = dice.below(total);
        let chosen = WEIGHTS.iter().find(|(_, weight)| {
            let is_it = at < *weight;
            at = at.saturating_sub(*weight);
            is_it
        });
        let (kind, _) = chosen.expect("the weights add up");
        let began = world.recorder.now();
        let pids = inject(*kind, world, target, &mut dice).await;
        let (kind, ended) = (FaultKind::from(*kind), world.recorder.now());
        let fault = Fault {
            kind,
            began,
            ended,
            pids: pids.clone(),
        };
        world.recorder.add(|evidence| evidence.faults.push(fault));
        if kind.ends_supervisor() {
            until_answered(&world.recorder, ended, &pids, RECOVERY).await;
        }
    }
}

/// Injects one fault and ends it. The freeze of a worker ends later, by itself. Returns the processes that the fault
/// killed.
async fn inject(kind: Kind, world: &Rc<World>, target: &Target, dice: &mut Dice) -> Vec<u32> {
    let (machine, supervisors) = (&world.machine, &world.supervisors);
    match kind {
        Kind::KillSupervisor => {
            if dice.below(2) == 0 {
                machine.crash_at(dice.pick(&FAILPOINTS).copied());
                sleep(CRASH_LIMIT).await;
                machine.crash_at(None);
            }
            Vec::from_iter(supervisors.kill().await)
        }
        Kind::KillWorker => {
            let workers = machine.workers();
            let killed = dice.pick(&workers).copied();
            killed.into_iter().for_each(|pid| machine.kill(pid));
            Vec::from_iter(killed)
        }
        Kind::KillEverything => {
            let mut pids = machine.workers();
            pids.iter().for_each(|pid| machine.kill(*pid));
            pids.extend(supervisors.kill().await);
            sleep(dice.between(10, 1_500)).await;
            supervisors.start();
            pids
        }
        Kind::StopSupervisor => {
            let lasts = dice.between(100, 4_000);
            supervisors.stop_for(lasts);
            sleep(lasts).await;
            Vec::new()
        }
        Kind::StopWorker => {
            let workers = machine.workers();
            let lasts = match dice.below(4) {
                // The freeze is long enough for the member to become unresponsive.
                0 => dice.between(16_000, 20_000),
                _ => dice.between(50, 3_000),
            };
            if let Some(pid) = dice.pick(&workers) {
                world.network.freeze(ConnectionSelector::Of(*pid), lasts);
            }
            Vec::new()
        }
        Kind::RestartSupervisor => {
            let closed = supervisors.close(GoodbyeReason::Restarting).await;
            sleep(dice.between(1, 200)).await;
            supervisors.start();
            Vec::from_iter(closed)
        }
        Kind::FullDisk => {
            machine.set_disk_full(true);
            sleep(dice.between(20, 1_500)).await;
            machine.set_disk_full(false);
            Vec::new()
        }
        Kind::CutConnections => {
            match dice.below(4) {
                0 => world.network.cut(ConnectionSelector::All),
                _ => world.network.cut(ConnectionSelector::Nth(dice.below(64))),
            }
            Vec::new()
        }
        Kind::ClockJump => {
            let hours = i64::try_from(dice.below(96)).unwrap_or(0) - 48;
            machine.jump(hours * 3_600_000);
            Vec::new()
        }
        Kind::SlowReaders => {
            slow_reader(world, target, dice.between(500, 5_000)).await;
            Vec::new()
        }
        Kind::Flood => {
            flood(target).await;
            Vec::new()
        }
    }
}

/// A subscriber that reads nothing.
async fn slow_reader(world: &World, target: &Target, lasts: Duration) {
    let Some((reader, mut writer)) = world.network.dial(None) else {
        return;
    };
    let subscribe = Subscribe {
        after: Revision(0),
        transient: true,
    };
    writer.queue(&rpc::initialize(0, &Initialize::client("slow")));
    writer.queue(&rpc::request::<EventSubscribe>(
        1,
        &target.call(None, subscribe),
    ));
    let _cut = timeout(lasts, writer.flush()).await;
    sleep(lasts).await;
    drop(reader);
}

async fn flood(target: &Target) {
    let Some((client, _incoming)) = target.connect("flood").await else {
        return;
    };
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..FLOOD {
        let (client, call) = (
            client.clone(),
            target.call(None, ListRequests { all: false }),
        );
        calls.spawn_local(async move { client.call::<RequestList>(&call).await.is_ok() });
    }
    let answered = async { while calls.join_next().await.is_some() {} };
    let _given_up = timeout(Duration::from_secs(5), answered).await;
}

/// Starts a supervisor if none runs, as the next command of the user does.
pub(super) async fn supervisor_starter(world: &World, target: &Target) {
    while target.phase() != Phase::Over {
        sleep(Duration::from_millis(700)).await;
        world.supervisors.start();
    }
}

/// Stops, kills and restarts members as the user does. Records each action as a `KillWorker` fault with the processes
/// that may have ended.
pub(super) async fn operator(world: Rc<World>, mut target: Target, mut dice: Dice) {
    let mut caller = Caller::new(target.clone(), "operator");
    while target.pause(dice.between(1_000, 4_000)).await {
        let name = match dice.below(6) {
            0 => AGENT,
            _ => dice.pick(&COMMAND_MEMBERS).expect("there are members"),
        };
        let member: agent_team_protocol::MemberName = name.parse().expect("a name");
        let began = world.recorder.now();
        let first = world.first_worker_of(name);
        let one = OneMember {
            member: member.clone(),
        };
        match dice.below(3) {
            0 => {
                let force = dice.below(2) == 0;
                let stop = Stop { member, force };
                drop(caller.call::<MemberStop>(stop).await);
            }
            1 => drop(caller.call::<MemberKill>(one.clone()).await),
            _ => {}
        }
        sleep(dice.between(0, 500)).await;
        // Repeat the call: the supervisor can refuse it temporarily, such as while the disk is full.
        while caller.call::<MemberRestart>(one.clone()).await.is_err() {
            if target.phase() == Phase::Over {
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
        // A worker that was started after the fault began may be among the ended processes.
        let fault = Fault {
            kind: FaultKind::KillWorker,
            began,
            ended: world.recorder.now(),
            pids: world.workers_of(name, first),
        };
        world.recorder.add(|evidence| evidence.faults.push(fault));
    }
}

/// Restarts members that are held after too many crashes, as the user does.
pub(super) async fn reviver(target: Target) {
    let mut caller = Caller::new(target, "reviver");
    while caller.target.phase() != Phase::Over {
        sleep(Duration::from_secs(1)).await;
        let Ok(team) = caller.call::<TeamShow>(Nothing {}).await else {
            continue;
        };
        for member in team.members {
            if member.state == MemberState::Held {
                let member = OneMember {
                    member: member.name,
                };
                // The call is refused if the member's state has changed meanwhile.
                let _refused = caller.call::<MemberRestart>(member).await;
            }
        }
    }
}
