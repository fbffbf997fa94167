//! `cargo xtask simulate`: runs rounds of [`agent_team_tests::simulation`] and prints the violations. Exits with 1 when
//! a guarantee is violated.

#![expect(clippy::print_stdout, reason = "a command's output is its purpose")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agent_team_tests::simulation::{self, Lengths, Round};
use agent_team_tests::torture::Plant;
use agent_team_tests::torture::check::Guarantee;
use agent_team_tests::torture::history::{FaultKind, Outcome};
use clap::Parser;

/// How long a team may take to finish its work when the faults have stopped.
const CALM: Duration = Duration::from_secs(180);

/// The maximum number of concurrent rounds. Each round needs about 12 MiB of disk space.
const THREADS_MAX: usize = 4;

/// The maximum number of violations that are printed for one guarantee.
const PRINTED_MAX: usize = 10;

/// Simulate a team and its faults in virtual time, then check every guarantee.
#[derive(Parser)]
#[command(name = "cargo xtask simulate", bin_name = "cargo xtask simulate")]
struct Arguments {
    /// Start no more rounds after this many steps. A step is a delivered frame, or the start or end of a process.
    #[arg(long, default_value_t = 1_000_000)]
    steps: u64,
    /// Repeat an earlier simulation exactly. Rounds after the first use seeds derived from this one.
    #[arg(long)]
    seed: Option<u64>,
    /// Inject faults for this many seconds of virtual time in each round.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Write the events of the last round to this file.
    #[arg(long)]
    journal: Option<PathBuf>,
    /// Plant this fault in the supervisor; a checker must find it.
    #[arg(long, value_parser = plant)]
    plant: Option<Plant>,
}

fn plant(name: &str) -> Result<Plant, String> {
    Plant::named(name)
        .ok_or_else(|| format!("use one of {}", Plant::ALL.map(Plant::name).join(", ")))
}

#[derive(Default)]
struct Total {
    rounds: usize,
    steps: u64,
    lasted: Duration,
    events: usize,
    acknowledged: usize,
    refused: usize,
    faults: BTreeMap<FaultKind, usize>,
}

impl Total {
    fn add(&mut self, round: &Round) {
        self.rounds += 1;
        self.steps += round.steps;
        self.lasted += round.lasted;
        self.events += round.evidence.journal.len();
        for operation in &round.evidence.operations {
            match operation.outcome {
                Outcome::Done(_) => self.acknowledged += 1,
                Outcome::Refused(_) => self.refused += 1,
                Outcome::Unknown => {}
            }
        }
        for fault in &round.evidence.faults {
            *self.faults.entry(fault.kind).or_default() += 1;
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(plant) = arguments.plant
        && !agent_team_system::planted::plant(plant)
    {
        println!("cannot plant a fault: a release build contains none");
        return ExitCode::FAILURE;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seed = arguments.seed.unwrap_or_else(|| {
        now.map_or(1, |now| now.as_secs() << 16 ^ u64::from(std::process::id()))
    });
    println!("seed          {seed}");
    let began = Instant::now();
    let mut total = Total::default();
    // Use one thread, because a planted fault counts its occasions per process. Keep the calm phase short, because a
    // planted fault can prevent a team from ever finishing its work.
    let (threads, calm) = match arguments.plant {
        Some(_) => (1, Duration::from_secs(3)),
        None => (threads_for(&arguments), CALM),
    };
    let faults = Duration::from_secs(arguments.seconds);
    let rounds = Rounds::start(seed, Lengths { faults, calm }, threads);
    while total.steps < arguments.steps {
        let round = rounds.take(total.rounds);
        total.add(&round);
        println!(
            "round         seed {}, {} steps, {} events, journal {:016x}",
            round.seed,
            round.steps,
            round.evidence.journal.len(),
            round.digest()
        );
        if let Some(file) = &arguments.journal
            && let Err(error) = std::fs::write(file, round.journal.join("\n"))
        {
            println!("cannot write {}: {error}", file.display());
        }
        if !round.violations.is_empty() {
            print_violations(&round);
            let plant = arguments.plant.map(Plant::name);
            let plant = plant.map_or_else(String::new, |name| format!(" --plant {name}"));
            println!(
                "{} violations; repeat with: cargo xtask simulate --steps 1 --seconds {} --seed {}{plant}",
                round.violations.len(),
                arguments.seconds,
                round.seed
            );
            return ExitCode::FAILURE;
        }
        if total.steps < arguments.steps {
            rounds.begin_after(total.rounds - 1);
        }
    }
    report(&total, began.elapsed());
    ExitCode::SUCCESS
}

/// Prints at most [`PRINTED_MAX`] violations of each guarantee, and their total number.
fn print_violations(round: &Round) {
    for guarantee in Guarantee::ALL {
        let of_it = round.violations.iter();
        let of_it: Vec<_> = of_it.filter(|found| found.guarantee == guarantee).collect();
        for violation in of_it.iter().take(PRINTED_MAX) {
            println!("VIOLATED      {violation}");
        }
        match of_it.len() {
            0 => {}
            found => println!(
                "              {found} times; guaranteed: {}",
                guarantee.text()
            ),
        }
    }
}

/// The number of threads: at most one per expected round. A team makes about 500 steps per second of virtual time.
fn threads_for(arguments: &Arguments) -> usize {
    let rounds = arguments.steps / (500 * arguments.seconds.max(1));
    let useful = usize::try_from(rounds).unwrap_or(THREADS_MAX);
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    available.min(useful).clamp(1, THREADS_MAX)
}

/// Rounds, each simulated in one thread. Each of `n` threads simulates every `n`-th round.
struct Rounds(Vec<Worker>);

struct Worker {
    /// Starts the next round of the thread.
    begin: Sender<()>,
    rounds: Receiver<Round>,
    thread: JoinHandle<()>,
}

impl Rounds {
    fn start(seed: u64, lengths: Lengths, threads: usize) -> Self {
        let start = |first: usize| {
            let (begin, begun) = channel();
            let (done, rounds) = channel();
            let thread = std::thread::spawn(move || {
                let numbers = (first..).step_by(threads);
                for (number, ()) in numbers.zip(begun) {
                    let seed = simulation::seed_of_round(seed, number as u64);
                    let _enough = done.send(simulation::round(seed, lengths));
                }
            });
            Worker {
                begin,
                rounds,
                thread,
            }
        };
        let rounds = Self((0..threads).map(start).collect());
        (0..threads).for_each(|number| rounds.begin_after(number));
        rounds
    }

    /// Lets the thread that simulated this round start its next round.
    fn begin_after(&self, number: usize) {
        // The send fails if the thread has panicked, which `take` reports.
        let _panicked = self.0[number % self.0.len()].begin.send(());
    }

    /// Takes the rounds in order, so that the same seed gives the same output.
    fn take(&self, number: usize) -> Round {
        let round = self.0[number % self.0.len()].rounds.recv();
        round.expect("the simulation panicked")
    }
}

impl Drop for Rounds {
    /// Waits for the running rounds, which remove their directories themselves.
    fn drop(&mut self) {
        for worker in self.0.drain(..) {
            drop(worker.begin);
            // The thread has already reported its panic.
            let _ended = worker.thread.join();
        }
    }
}

fn report(total: &Total, took: Duration) {
    let faults: Vec<String> = total
        .faults
        .iter()
        .map(|(kind, n)| format!("{n} {kind:?}"))
        .collect();
    println!(
        "operations    {} acknowledged, {} refused",
        total.acknowledged, total.refused
    );
    println!("events        {} stored", total.events);
    println!("faults        {}", faults.join(", "));
    println!(
        "simulated     {:.0} s of {} teams, {} steps in {:.1} s: {} steps per second",
        total.lasted.as_secs_f64(),
        total.rounds,
        total.steps,
        took.as_secs_f64(),
        u128::from(total.steps) * 1000 / took.as_millis().max(1)
    );
    println!("no violations");
}
