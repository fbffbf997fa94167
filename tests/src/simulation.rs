//! The simulation: a whole team in one thread. The supervisor's server, driver, core and store are real. The machine,
//! the network, the answers of the disk and the workers are simulated in virtual time, from one seed. The torture
//! provides the clients and the checkers.
//!
//! ```text
//! clients ─┐                              ┌─ machine: time, randomness, processes
//! workers ─┼─ network ─ server ─ driver ──┼─ disk ─ store
//! faults ──┘                              └─ evidence ─ torture::check ─► violations
//! ```
//! A step is a frame that was delivered, or a process that started or ended. Time advances only when every task waits,
//! so that hours of a team's life take minutes, and the same seed gives the same journal. `cargo xtask simulate` runs
//! simulations.
//!
//! - the environment of the supervisor: `machine`, `committer`, `network`; its starts and ends: `supervisors`
//! - simulated workers: `worker`; injected faults: `faults`

mod committer;
mod faults;
mod machine;
mod network;
mod supervisors;
mod worker;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use agent_team_client::Arrival;
use agent_team_protocol::id::stable_hash;
use agent_team_protocol::method::{
    Down, EventSubscribe, ListTasks, Subscribe, TaskList, TeamDown, TeamUp, Up,
};
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::{MemberName, Revision, TeamId};
use agent_team_system::directories::Directories;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use crate::torture::caller::{Caller, Phase, Target};
use crate::torture::check::{self, Violation};
use crate::torture::collect::{journal, unfinished_after};
use crate::torture::history::{Dice, Evidence, Recorder, Task};
use crate::torture::world::{AGENT, COMMAND_MEMBERS};
use crate::torture::{meters, workload};
use machine::{Machine, Start};
use network::Network;
use supervisors::Supervisors;

const NAME: &str = "simulated";

/// The project's path, which does not exist.
const PROJECT: &str = "/simulated/project";

/// How long the parts of a round last, in virtual time.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    /// How long faults happen.
    pub faults: Duration,
    /// How long the team may take to finish its work afterwards.
    pub calm: Duration,
}

/// The pause between two probes. A probe costs as much as many other calls.
const PROBE_PAUSE: Duration = Duration::from_millis(300);

/// The result of one round.
#[derive(Debug)]
pub struct Round {
    pub seed: u64,
    /// Frames delivered, and processes started and ended.
    pub steps: u64,
    /// The duration of the round in virtual time.
    pub lasted: Duration,
    /// The events as a subscriber receives them, with their times.
    pub journal: Vec<String>,
    pub evidence: Evidence,
    pub violations: Vec<Violation>,
}

impl Round {
    /// A digest of the journal, by which the journals of two rounds can be compared.
    pub fn digest(&self) -> u64 {
        stable_hash(self.journal.iter().flat_map(|event| event.bytes()))
    }
}

/// The seed of a round of a simulation. The first round, number 0, has the seed of the simulation.
pub fn seed_of_round(seed: u64, round: u64) -> u64 {
    seed.wrapping_add(round.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Simulates one team from its start to its end.
///
/// # Panics
/// When the directories cannot be created, or the simulation itself has a bug.
pub fn round(seed: u64, lengths: Lengths) -> Round {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be started");
    // A directory on a slow disk suffices: commits are not synced.
    let home = tempfile::tempdir().expect("a directory can be made");
    let tasks = LocalSet::new();
    let round = tasks.block_on(&runtime, simulate_team(seed, lengths, home.path()));
    drop(tasks);
    round
}

/// State that all parts of a simulation share.
struct World {
    machine: Machine,
    network: Network,
    supervisors: Supervisors,
    recorder: Recorder,
    /// The member of each worker, by the worker's pid.
    workers: RefCell<BTreeMap<u32, String>>,
    /// Violations that workers observed.
    contradictions: RefCell<Vec<String>>,
    journal: RefCell<Vec<String>>,
}

impl World {
    fn contradiction(&self, text: String) {
        self.contradictions.borrow_mut().push(text);
    }

    fn note_worker(&self, pid: u32, member: &MemberName) {
        self.workers.borrow_mut().insert(pid, member.to_string());
    }

    /// The oldest living worker of a member; 0 if none is alive.
    fn first_worker_of(&self, member: &str) -> u32 {
        let alive = self.machine.workers();
        let workers = self.workers.borrow();
        let of_member = |pid: &&u32| workers.get(pid).is_some_and(|name| name == member);
        alive.iter().find(of_member).copied().unwrap_or_default()
    }

    /// The pids of the workers of a member, from `first` on.
    fn workers_of(&self, member: &str, first: u32) -> Vec<u32> {
        let workers = self.workers.borrow();
        let since = workers.range(first..);
        let of_member = since.filter(|(_, name)| *name == member);
        of_member.map(|(pid, _)| *pid).collect()
    }
}

async fn simulate_team(seed: u64, lengths: Lengths, home: &Path) -> Round {
    let mut dice = Dice::new(stable_hash(seed.to_be_bytes()), 0);
    let network = Network::new(dice.split());
    let (machine, started) = Machine::new(dice.split(), network.clone());
    let directories = Directories {
        state: home.join("state"),
        run: home.join("run"),
        config: home.join("config"),
    };
    let world = Rc::new(World {
        machine: machine.clone(),
        network: network.clone(),
        supervisors: Supervisors::new(machine, directories),
        recorder: Recorder::start(),
        workers: RefCell::default(),
        contradictions: RefCell::default(),
        journal: RefCell::default(),
    });
    spawn_local(start_workers(world.clone(), started));
    let phase = watch::Sender::new(Phase::Torture);
    let name = NAME.parse().expect("a team's name");
    let target = Target {
        connector: Rc::new(network.clone()),
        team: TeamRef::Id(TeamId::new(&name, Path::new(PROJECT))),
        phase: phase.subscribe(),
    };
    world.supervisors.start();
    let mut user = Caller::new(target.clone(), "user");
    let up = user.call::<TeamUp>(team_spec()).await;
    up.expect("a supervisor that just started accepts `up`");
    run_phases(&world, &target, &phase, lengths, &mut dice).await;
    world.supervisors.kill().await;

    let evidence = world.recorder.evidence();
    let violations = check::check(&evidence);
    Round {
        seed,
        steps: network.frames() + world.machine.process_events(),
        lasted: world.recorder.now(),
        journal: world.journal.take(),
        evidence,
        violations,
    }
}

/// Runs each started process as a task.
async fn start_workers(world: Rc<World>, mut started: tokio::sync::mpsc::UnboundedReceiver<Start>) {
    while let Some(start) = started.recv().await {
        let pid = start.pid;
        let task = spawn_local(worker::run(world.clone(), start));
        world.machine.attach(pid, task.abort_handle());
    }
}

/// Runs a phase with faults and work, then a phase with work only.
async fn run_phases(
    world: &Rc<World>,
    target: &Target,
    phase: &watch::Sender<Phase>,
    Lengths {
        faults: lasts,
        calm,
    }: Lengths,
    dice: &mut Dice,
) {
    let recorder = || world.recorder.clone();
    let decisions = dice.below(1 << 53);
    let dice: [Dice; 8] = std::array::from_fn(|_| dice.split());
    let [one, two, three, plans, claims, asks, orders, faults] = dice;
    let finished = watch::Sender::new(false);
    let work = async {
        tokio::join!(
            workload::sender(target.clone(), recorder(), 1, one),
            workload::sender(target.clone(), recorder(), 2, two),
            workload::sender(target.clone(), recorder(), 3, three),
            workload::planner(target.clone(), recorder(), plans),
            workload::claimant(target.clone(), recorder(), claims),
            workload::asker(target.clone(), recorder(), asks, lasts),
            faults::operator(world.clone(), target.clone(), orders),
            meters::probe(target.clone(), recorder(), PROBE_PAUSE),
            meters::subscriber(target.clone(), recorder()),
        );
        finished.send_replace(true);
    };
    let until_the_end = async {
        tokio::join!(
            workload::decider(target.clone(), recorder(), decisions),
            faults::reviver(target.clone()),
            faults::supervisor_starter(world, target),
        )
    };
    let phases = async {
        faults::run(world, target, lasts, faults).await;
        phase.send_replace(Phase::Calm);
        let mut finished = finished.subscribe();
        let _elapsed = timeout(calm, finished.wait_for(|finished| *finished)).await;
        let unfinished = unfinished_after(target.clone(), calm).await;
        collect(world, target, unfinished).await;
        phase.send_replace(Phase::Over);
    };
    tokio::join!(phases, work, until_the_end);
}

/// Reads the evidence, ends the team, and searches for leftovers.
async fn collect(world: &World, target: &Target, unfinished: Vec<String>) {
    let mut caller = Caller::new(target.clone(), "collector");
    let journal = journal(target).await;
    world.journal.replace(stored(target, journal.len()).await);
    let tasks = tasks(&mut caller).await;
    let mut left = match caller.call::<TeamDown>(Down { force: false }).await {
        Ok(_receipts) => Vec::new(),
        Err(outcome) => vec![format!("down ended with {outcome:?}")],
    };
    let workers = world.machine.workers();
    left.extend(workers.iter().map(|pid| format!("the worker {pid}")));
    left.extend(world.supervisors.files_left());
    let contradictions = world.contradictions.take();
    world.recorder.add(|evidence| {
        evidence.journal = journal;
        evidence.tasks = tasks;
        evidence.left = left;
        evidence.unfinished = [unfinished, contradictions].concat();
    });
}

async fn tasks(caller: &mut Caller) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut page = Some(ListTasks::default());
    while let Some(list) = page {
        let Ok(answer) = caller.call::<TaskList>(list).await else {
            return tasks;
        };
        page = answer.next();
        tasks.extend(answer.tasks.into_iter().map(|task| {
            let state = serde_json::to_value(task.state).unwrap_or_default();
            Task {
                id: task.id.0,
                key: task.key,
                state: state.as_str().unwrap_or_default().to_owned(),
                rerun: task.rerun,
                runs: task.run.is_some(),
            }
        }));
    }
    tasks
}

/// The first `events` events as a subscriber receives them, with their times.
async fn stored(target: &Target, events: usize) -> Vec<String> {
    let mut stored = Vec::new();
    let Some((client, mut incoming)) = target.connect("journal").await else {
        return stored;
    };
    let subscribe = Subscribe {
        after: Revision(0),
        transient: false,
    };
    let call = target.call(None, subscribe);
    if client.call::<EventSubscribe>(&call).await.is_ok() {
        while stored.len() < events
            && let Some(Arrival::Notification { params, .. }) = incoming.next().await
        {
            stored.push(params.get().to_owned());
        }
    }
    stored
}

/// The specification of the torture's team, as the parser of its team file would return it.
fn team_spec() -> Up {
    let member = |name: &str, engine: &str, claim: &str| {
        serde_json::json!({
            "name": name, "role": "worker", "lead": false, "engine": engine, "cwd": PROJECT, "claim": claim,
        })
    };
    let mut members = COMMAND_MEMBERS
        .map(|name| member(name, "command", "ready"))
        .to_vec();
    members.push(member(AGENT, "native", "assigned"));
    let up = serde_json::json!({
        "spec": {
            "name": NAME,
            "project": PROJECT,
            "placement": "headless",
            "layout": "main-vertical",
            "limits": { "teammates": 10, "starting": 4 },
            "hooks": {},
            "roles": [],
            "members": members,
            "tasks": [],
        },
        "environment": {},
        "terminal": { "path": "" },
        "dry_run": false,
        "fresh": false,
    });
    serde_json::from_value(up).expect("the specification is complete")
}
