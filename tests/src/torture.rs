//! The torture test: random faults against the real binaries while a team works, and a checker for each guarantee of the
//! product.
//!
//! ```text
//! workload ── operations ─┐
//! nemesis ─── faults ─────┼─► evidence ─► check ─► violations
//! product ─── journal ────┘
//! ```
//! `cargo xtask torture` runs it; the tests in `tests/torture/` plant faults that the checkers must find.
//! The torture runs in a world of its own, and terminates and removes only processes and files of that world. The same
//! seed repeats the random choices, but not the timing of the machine.
//!
//! - records: [`history`]; checkers: [`check`]
//! - clients: `workload`; faults: `nemesis`; directories and processes: `world`; measurements: `meters`; the evidence
//!   at the end: `collect`

pub(crate) mod caller;
pub mod check;
pub(crate) mod collect;
pub mod history;
pub(crate) mod meters;
pub(crate) mod nemesis;
mod report;
pub(crate) mod workload;
pub(crate) mod world;

use std::path::PathBuf;
use std::time::Duration;

pub use agent_team_system::planted::Plant;
use tokio::sync::watch;
use tokio::time::timeout;

use caller::Phase;
use check::{Guarantee, Violation};
use history::{Dice, Evidence, Recorder};
use world::World;

/// Duration, seed and placement of a torture run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long faults happen.
    pub faults: Duration,
    /// How long the team may take to finish its work afterwards.
    pub calm: Duration,
    pub seed: u64,
    /// `headless`, `hosted` or `tmux`.
    pub placement: String,
    pub plant: Option<Plant>,
}

/// The guarantee that a planted fault breaks, and a text in the evidence that only this fault produces.
pub fn broken_by(plant: Plant) -> (Guarantee, &'static str) {
    match plant {
        Plant::LostMessage => (Guarantee::Delivery, " to []"),
        Plant::DoubleClaim => (Guarantee::Claims, " at once"),
        Plant::SecondWriter => (Guarantee::OneWriter, "storage_failed"),
        Plant::UnaskedRun => (Guarantee::Requests, "ran and was never allowed"),
        Plant::StaleOwner => (Guarantee::Claims, "was changed by generation"),
    }
}

/// The result of a torture run.
#[derive(Debug)]
pub struct Report {
    pub options: Options,
    pub evidence: Evidence,
    pub violations: Vec<Violation>,
    /// A copy of the state directory, with logs and journal, after a violation.
    pub kept: Option<PathBuf>,
}

/// Runs a torture.
///
/// # Panics
/// When the world cannot be created: the binaries or the directories are missing.
pub async fn run(options: Options) -> Report {
    let mut world = World::start(&options).await;
    let recorder = Recorder::start();
    run_phases(&world, &options, &recorder).await;
    let evidence = world.collect(&recorder).await;
    let violations = check::check(&evidence);
    let kept = if violations.is_empty() {
        None
    } else {
        world.keep_state(options.seed)
    };
    Report {
        options,
        evidence,
        violations,
        kept,
    }
}

/// Pause between two probes.
const PROBE_PAUSE: Duration = Duration::from_millis(40);

/// Runs the phase with faults and then the calm phase, in which the team finishes its work.
async fn run_phases(world: &World, options: &Options, recorder: &Recorder) {
    let dice = |stream| Dice::new(options.seed, stream);
    let target = || world.target();
    let finished = watch::Sender::new(false);
    let begin_work = async {
        tokio::join!(
            workload::sender(target(), recorder.clone(), 1, dice(1)),
            workload::sender(target(), recorder.clone(), 2, dice(2)),
            workload::sender(target(), recorder.clone(), 3, dice(3)),
            workload::typist(world, recorder.clone(), dice(4)),
            workload::planner(target(), recorder.clone(), dice(5)),
            workload::claimant(target(), recorder.clone(), dice(6)),
            workload::asker(target(), recorder.clone(), dice(7), options.faults),
            workload::watcher(world, recorder.clone(), dice(8)),
            meters::probe(target(), recorder.clone(), PROBE_PAUSE),
            meters::subscriber(target(), recorder.clone()),
            meters::size(world, recorder.clone()),
        );
        finished.send_replace(true);
    };
    let until_the_end = async {
        tokio::join!(
            workload::decider(target(), recorder.clone(), options.seed),
            workload::reviver(world),
            meters::stalls(target(), recorder.clone()),
        )
    };
    let phases = async {
        nemesis::run(world, options, recorder).await;
        world.heal().await;
        world.enter(Phase::Calm);
        let mut finished = finished.subscribe();
        let _elapsed = timeout(options.calm, finished.wait_for(|finished| *finished)).await;
        world.calm_down(options.calm, recorder).await;
        world.enter(Phase::Over);
    };
    tokio::join!(phases, begin_work, until_the_end);
}
