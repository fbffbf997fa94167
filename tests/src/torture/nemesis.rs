//! The nemesis: one random fault after another. It hits only processes of its own world, found by the world's
//! directory, and heals what it began.

use std::fs;
use std::time::Duration;

use agent_team_protocol::Revision;
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::method::{EventSubscribe, Nothing, Subscribe, TeamShow};
use agent_team_protocol::rpc;
use agent_team_system::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::Options;
use super::history::{Dice, Fault, FaultKind, Recorder};
use super::world::{Role, World, kill};

/// Readers that never read.
const SLOW_READERS: usize = 5;

/// Calls that a flood makes at once.
const FLOOD: usize = 400;

/// How often each fault happens, relative to the others.
const WEIGHTS: [(FaultKind, u64); 14] = [
    (FaultKind::KillSupervisor, 27),
    (FaultKind::KillWorker, 18),
    (FaultKind::KillCommand, 8),
    (FaultKind::KillTmux, 4),
    (FaultKind::KillEverything, 2),
    (FaultKind::StopSupervisor, 6),
    (FaultKind::StopWorker, 6),
    (FaultKind::RestartSupervisor, 4),
    (FaultKind::RemoveSocket, 3),
    (FaultKind::FullDisk, 4),
    (FaultKind::FailedSync, 4),
    (FaultKind::ClockJump, 8),
    (FaultKind::SlowReaders, 3),
    (FaultKind::Flood, 3),
];

/// Makes faults until the torture's time is over.
pub(crate) async fn run(world: &World, options: &Options, recorder: &Recorder) {
    let mut dice = Dice::new(options.seed, 0);
    let total: u64 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
    while recorder.now() < options.lasts {
        // Now and then the team comes to rest in between.
        let pause = match dice.below(5) {
            0 => dice.between(2_000, 4_000),
            _ => dice.between(100, 1_500),
        };
        sleep(pause).await;
        let mut at = dice.below(total);
        let chosen = WEIGHTS.iter().find(|(_, weight)| {
            let is_it = at < *weight;
            at = at.saturating_sub(*weight);
            is_it
        });
        let Some((kind, _)) = chosen else { continue };
        let began = recorder.now();
        if let Some(pids) = make(*kind, world, &mut dice).await {
            let fault = Fault {
                kind: *kind,
                began,
                ended: recorder.now(),
                pids,
            };
            recorder.add(|evidence| evidence.faults.push(fault));
        }
    }
}

/// Makes one fault and heals it; the pids it hit, `None` where it is not possible now.
async fn make(kind: FaultKind, world: &World, dice: &mut Dice) -> Option<Vec<u32>> {
    match kind {
        FaultKind::KillSupervisor => kill_one(world, Role::Supervisor, dice).await,
        FaultKind::KillWorker => kill_one(world, Role::Worker, dice).await,
        FaultKind::KillCommand => kill_one(world, Role::Command, dice).await,
        FaultKind::KillTmux => kill_one(world, Role::Tmux, dice).await,
        FaultKind::KillEverything => {
            let all = [
                Role::Supervisor,
                Role::Worker,
                Role::PaneHelper,
                Role::Tmux,
                Role::Command,
            ];
            let pids = kill(&world.processes(&all)).await;
            world.verb(&["ps", "--json"]).await;
            Some(pids)
        }
        FaultKind::StopSupervisor => stop_one(world, Role::Supervisor, 2_500, dice).await,
        FaultKind::StopWorker => stop_one(world, Role::Worker, 5_000, dice).await,
        FaultKind::RestartSupervisor => {
            world.verb(&["supervisor", "restart", "--json"]).await;
            Some(Vec::new())
        }
        FaultKind::RemoveSocket => {
            fs::remove_file(world.rig.directories().socket()).ok()?;
            // The next command makes the supervisor bind it again.
            world.verb(&["ps", "--json"]).await;
            Some(Vec::new())
        }
        FaultKind::FullDisk => {
            let disk = world.disk.as_ref()?;
            disk.fill();
            sleep(dice.between(200, 1_500)).await;
            disk.empty();
            Some(Vec::new())
        }
        FaultKind::FailedSync => {
            let shim = world.shim.as_ref()?;
            shim.fail_syncs(true);
            sleep(dice.between(20, 400)).await;
            shim.fail_syncs(false);
            Some(Vec::new())
        }
        FaultKind::ClockJump => {
            const YEARS: u64 = 10 * 365 * 86_400;
            let jump = i64::try_from(dice.below(2 * YEARS)).ok()?;
            world
                .shim
                .as_ref()?
                .set_clock(jump - i64::try_from(YEARS).ok()?);
            Some(Vec::new())
        }
        FaultKind::SlowReaders => {
            let mut readers = Vec::new();
            for _ in 0..SLOW_READERS {
                let subscribe = Subscribe {
                    after: Revision(0),
                    transient: true,
                };
                let call = world.target().call(None, subscribe);
                readers.push(write_calls(world, &rpc::request::<EventSubscribe>(1, &call)).await?);
            }
            sleep(dice.between(500, 2_500)).await;
            Some(Vec::new())
        }
        FaultKind::Flood => {
            let call = world.target().call(None, Nothing {});
            let calls: String = (1..=FLOOD as u64)
                .map(|id| rpc::request::<TeamShow>(id, &call))
                .collect();
            let mut flood = write_calls(world, &calls).await?;
            let mut read = vec![0; 1 << 16];
            let answers =
                async { while flood.read(&mut read).await.is_ok_and(|bytes| bytes > 0) {} };
            let _elapsed = timeout(Duration::from_secs(2), answers).await;
            Some(Vec::new())
        }
    }
}

async fn kill_one(world: &World, role: Role, dice: &mut Dice) -> Option<Vec<u32>> {
    let found = world.processes(&[role]);
    let victim = dice.pick(&found)?.clone();
    let killed = kill(&[victim]).await;
    (!killed.is_empty()).then_some(killed)
}

async fn stop_one(world: &World, role: Role, longest_ms: u64, dice: &mut Dice) -> Option<Vec<u32>> {
    let found = world.processes(&[role]);
    let process = dice.pick(&found)?.process;
    process.signal(Signal::SIGSTOP).ok()?;
    sleep(dice.between(50, longest_ms)).await;
    process.signal(Signal::SIGCONT).ok()?;
    // It was not hurt: no launch may end because of this.
    Some(Vec::new())
}

/// A connection on which frames were written and nothing was read.
async fn write_calls(world: &World, frames: &str) -> Option<UnixStream> {
    let mut stream = UnixStream::connect(world.rig.directories().socket())
        .await
        .ok()?;
    let hello = rpc::initialize(0, &Initialize::client("nemesis"));
    let write = async {
        stream.write_all(hello.as_bytes()).await?;
        stream.write_all(frames.as_bytes()).await
    };
    // The supervisor reads no further while its answers are not read.
    let _elapsed = timeout(Duration::from_secs(2), write).await;
    Some(stream)
}
