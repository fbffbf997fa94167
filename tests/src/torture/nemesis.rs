//! The nemesis injects one random fault after another, and heals each fault. It affects only processes and files of its
//! own world.
//!
//! After a fault that ends a supervisor, the nemesis waits for the first answer of the next supervisor, so that each
//! recovery is measured separately. The kind of a fault, the pause before it and its other random choices depend only
//! on the seed and the fault's number, not on earlier faults.

use std::fs;
use std::time::Duration;

use agent_team_protocol::Revision;
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::method::{EventSubscribe, Nothing, Subscribe, TeamShow};
use agent_team_protocol::rpc;
use agent_team_system::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::Options;
use super::history::{Dice, Fault, FaultKind, Recorder};
use super::world::{COMMAND_MEMBERS, Role, World, kill};

/// Number of clients that never read.
const SLOW_READERS: usize = 5;

/// Calls that a flood makes at once.
const FLOOD: usize = 400;

/// The number of supervisors that one series of kills ends.
const SERIES: usize = 3;

/// How long to wait for a recovery. A longer recovery is a violation.
pub(crate) const RECOVERY: Duration = Duration::from_secs(10);

/// How long to wait for a git process: tasks that run git start every few seconds.
const GIT: Duration = Duration::from_secs(5);

/// Pause between two checks for an answer or a process.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The number of the first stream of random numbers for faults. Each fault uses a separate stream.
const STREAMS: u64 = 1_000;

/// How often each fault happens, relative to the other faults.
const WEIGHTS: [(FaultKind, u64); 22] = [
    (FaultKind::KillSupervisor, 24),
    (FaultKind::KillSupervisors, 3),
    (FaultKind::KillWorker, 18),
    (FaultKind::KillCommand, 6),
    (FaultKind::KillGit, 4),
    (FaultKind::KillTmux, 5),
    (FaultKind::KillEverything, 3),
    (FaultKind::Reboot, 2),
    (FaultKind::KillMember, 5),
    (FaultKind::StopSupervisor, 6),
    (FaultKind::StopWorker, 6),
    (FaultKind::RestartSupervisor, 4),
    (FaultKind::RemoveSocket, 3),
    (FaultKind::RemoveRuntimeDirectory, 3),
    (FaultKind::RemoveRecords, 3),
    (FaultKind::FullDisk, 4),
    (FaultKind::FailedSync, 4),
    (FaultKind::FailedRead, 3),
    (FaultKind::ClockJump, 8),
    (FaultKind::SlowReaders, 3),
    (FaultKind::Flood, 3),
    (FaultKind::StopTmux, 2),
];

/// The random choices for the fault of this number: the pause before the fault, its kind, and dice for the other
/// choices.
fn choice(seed: u64, number: u64) -> (Duration, FaultKind, Dice) {
    let mut dice = Dice::new(seed, STREAMS + number);
    // Sometimes the pause is long enough for the team to finish its work.
    let pause = match dice.below(5) {
        0 => dice.between(2_000, 4_000),
        _ => dice.between(100, 1_500),
    };
    let total: u64 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
    let mut at = dice.below(total);
    for (kind, weight) in WEIGHTS {
        if at < weight {
            return (pause, kind, dice);
        }
        at -= weight;
    }
    unreachable!("the number is below the sum of the weights")
}

/// Injects faults until the torture's time is over.
pub(crate) async fn run(world: &World, options: &Options, recorder: &Recorder) {
    for number in 0.. {
        if recorder.now() >= options.faults {
            return;
        }
        let (pause, kind, mut dice) = choice(options.seed, number);
        sleep(pause).await;
        let began = recorder.now();
        let Some(FaultEffect { pids, ended }) = inject(kind, world, recorder, &mut dice).await
        else {
            continue;
        };
        let fault = Fault {
            kind,
            began,
            ended,
            pids,
        };
        let pids = fault.pids.clone();
        recorder.add(|evidence| evidence.faults.push(fault));
        if kind.ends_supervisor() {
            // A planted fault can prevent every answer, so wait no longer than the calm phase may take.
            until_answered(recorder, ended, &pids, RECOVERY.min(options.calm)).await;
        }
    }
}

/// Waits until a supervisor that is not in `not_by` has answered a probe, but no longer than `limit`. If the next fault
/// began earlier, it would hide the violation that no supervisor answers after the current fault.
pub(crate) async fn until_answered(
    recorder: &Recorder,
    since: Duration,
    not_by: &[u32],
    limit: Duration,
) {
    let deadline = Instant::now() + limit;
    while !recorder.is_answered_since(since, not_by) && Instant::now() < deadline {
        sleep(POLL_INTERVAL).await;
    }
}

/// The effect of a fault.
struct FaultEffect {
    pids: Vec<u32>,
    /// When the fault was healed. For a kill: when the processes were dead.
    ended: Duration,
}

/// Injects one fault and heals it; `None` if the fault is not possible now.
async fn inject(
    kind: FaultKind,
    world: &World,
    recorder: &Recorder,
    dice: &mut Dice,
) -> Option<FaultEffect> {
    let effect = |pids| FaultEffect {
        pids,
        ended: recorder.now(),
    };
    match kind {
        FaultKind::KillSupervisor => kill_one(world, Role::Supervisor, dice).await.map(effect),
        FaultKind::KillSupervisors => {
            let mut pids = Vec::new();
            while pids.len() < SERIES {
                let deadline = Instant::now() + RECOVERY;
                let next = loop {
                    match kill_one(world, Role::Supervisor, dice).await {
                        Some(next) => break next,
                        None if Instant::now() < deadline => sleep(POLL_INTERVAL).await,
                        None => return Some(effect(pids)),
                    }
                };
                pids.extend(next);
            }
            Some(effect(pids))
        }
        FaultKind::KillWorker => kill_one(world, Role::Worker, dice).await.map(effect),
        FaultKind::KillCommand => kill_one(world, Role::Command, dice).await.map(effect),
        FaultKind::KillGit => {
            let deadline = Instant::now() + GIT;
            let git = loop {
                let mut found = world.processes(&[Role::Command]);
                found.retain(|found| found.program == "git");
                match dice.pick(&found) {
                    Some(git) => break git.clone(),
                    None if Instant::now() < deadline => sleep(POLL_INTERVAL).await,
                    None => return None,
                }
            };
            Some(effect(kill(&[git]).await))
        }
        FaultKind::KillTmux => {
            let killed = effect(kill_one(world, Role::Tmux, dice).await?);
            world.verb(&["panes", "reopen", "--json"]).await;
            Some(killed)
        }
        FaultKind::KillEverything => {
            let killed = effect(kill_everything(world).await);
            // Start the next supervisor: all workers are dead, and other clients run a verb only every few seconds.
            world.verb(&["ps", "--json"]).await;
            Some(killed)
        }
        FaultKind::Reboot => {
            let shim = world.shim.as_ref()?;
            shim.set_boot_id(&format!("boot-{:016x}", dice.below(u64::MAX)));
            let killed = effect(kill_everything(world).await);
            world.rig.remove_runtime_directory();
            world.up().await;
            Some(killed)
        }
        FaultKind::KillMember => {
            let member = *dice.pick(&COMMAND_MEMBERS)?;
            let pids = world.kill_member(member, recorder).await;
            world.verb(&["restart", member, "--json"]).await;
            pids.map(effect)
        }
        FaultKind::StopSupervisor => {
            let stopped = stop_one(world, Role::Supervisor, 2_500, dice).await;
            stopped.map(effect)
        }
        FaultKind::StopWorker => stop_one(world, Role::Worker, 5_000, dice).await.map(effect),
        FaultKind::StopTmux => stop_one(world, Role::Tmux, 3_000, dice).await.map(effect),
        FaultKind::RestartSupervisor => {
            world.verb(&["supervisor", "restart", "--json"]).await;
            Some(effect(Vec::new()))
        }
        FaultKind::RemoveSocket => {
            fs::remove_file(world.rig.directories().socket()).ok()?;
            // The next command makes the supervisor bind the socket again.
            world.verb(&["ps", "--json"]).await;
            Some(effect(Vec::new()))
        }
        FaultKind::RemoveRuntimeDirectory => {
            world.rig.remove_runtime_directory();
            world.up().await;
            Some(effect(Vec::new()))
        }
        FaultKind::RemoveRecords => {
            world.remove_records();
            world.verb(&["ps", "--json"]).await;
            Some(effect(Vec::new()))
        }
        // Only the simulation injects this fault: the kernel loses no connection of living processes.
        FaultKind::CutConnections => None,
        FaultKind::FullDisk => {
            let disk = world.disk.as_ref()?;
            disk.fill();
            sleep(dice.between(200, 1_500)).await;
            disk.empty();
            Some(effect(Vec::new()))
        }
        FaultKind::FailedSync => {
            let shim = world.shim.as_ref()?;
            shim.fail_syncs(true);
            sleep(dice.between(20, 400)).await;
            shim.fail_syncs(false);
            Some(effect(Vec::new()))
        }
        FaultKind::FailedRead => {
            let shim = world.shim.as_ref()?;
            shim.fail_reads(true);
            sleep(dice.between(20, 400)).await;
            shim.fail_reads(false);
            Some(effect(Vec::new()))
        }
        FaultKind::ClockJump => {
            const YEARS: u64 = 10 * 365 * 86_400;
            let jump = i64::try_from(dice.below(2 * YEARS)).ok()?;
            let shim = world.shim.as_ref()?;
            shim.set_clock(jump - i64::try_from(YEARS).ok()?);
            Some(effect(Vec::new()))
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
            Some(effect(Vec::new()))
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
            Some(effect(Vec::new()))
        }
    }
}

async fn kill_everything(world: &World) -> Vec<u32> {
    let all = [
        Role::Supervisor,
        Role::Worker,
        Role::PaneHelper,
        Role::Tmux,
        Role::Command,
    ];
    let mut killed = Vec::new();
    // Repeat the kill: a process may start another process before it dies.
    loop {
        let found = world.processes(&all);
        if found.is_empty() {
            return killed;
        }
        killed.extend(kill(&found).await);
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
    // Record no pid: no launch may end because of this fault.
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
    // The write can time out: the supervisor stops reading while its answers are unread.
    let _elapsed = timeout(Duration::from_secs(2), write).await;
    Some(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_the_kinds_and_pauses_of_its_faults() {
        let chosen = |seed| {
            let choices = (0..50).map(|number| choice(seed, number));
            let chosen = choices.map(|(pause, kind, mut dice)| (pause, kind, dice.below(1_000)));
            chosen.collect::<Vec<_>>()
        };
        assert_eq!(chosen(6), chosen(6));
        assert_ne!(chosen(6), chosen(7), "two seeds choose the same faults");
    }

    #[test]
    fn every_fault_is_chosen() {
        let chosen = |wanted| (0..5_000).any(|number| choice(1, number).1 == wanted);
        for (kind, _) in WEIGHTS {
            assert!(chosen(kind), "{kind:?}");
        }
    }
}
