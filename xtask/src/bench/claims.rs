//! Measurements of the board: claims per second, and the effect of the board's size.
//!
//! Claimants are clients with one call in flight each. They act as the user, who may hold many tasks, so no completions
//! are needed between claims. After each round the claims are released, outside the measured time.

use std::collections::HashSet;
use std::path::Path;

use agent_team_protocol::TeamId;
use agent_team_protocol::id::TaskId;
use agent_team_protocol::method::{ClaimTask, EndTask, TaskClaim, TaskComplete, TaskRelease};
use agent_team_protocol::placement::PlacementChoice;
use anyhow::{Result, ensure};

use super::messages::CommitSize;
use super::rig::{Durability, Installation, Worker, environment, task, task_number, team};
use super::sqlite::Rows;
use super::stats::Figure;
use super::swarm::{SocketsAlone, Swarm};
use super::table::{Row, Target, Unit};
use super::{Bench, check_disk};

/// The maximum number of claims per round. If a board has fewer ready tasks, a round claims all of them.
const CLAIMS: usize = 4_000;

struct Board {
    team: TeamId,
    tasks: usize,
    dependencies: bool,
    ready: usize,
}

impl Board {
    /// With dependencies, the board has layers, and each task depends on two tasks of the previous layer. The first
    /// layer is completed, so that each claimed task has two dependencies and other tasks depend on it.
    fn load(installation: &mut Installation, tasks: usize, dependencies: bool) -> Result<Self> {
        let name = format!("b{tasks}{}", if dependencies { "d" } else { "" });
        let project = installation.project(&name)?;
        let spec = team(&project, &name, PlacementChoice::Headless, &[])?;
        let team = installation.up(spec, environment())?;
        let layer = if dependencies {
            (tasks / 4).min(CLAIMS)
        } else {
            tasks
        };
        installation.add_tasks(&team, tasks, |number| {
            let mut task = task(format!("task {number}"));
            if number > layer {
                let below = number - layer;
                task.after = vec![
                    format!("T-{below}"),
                    format!(
                        "T-{}",
                        if below % layer == 0 {
                            below + 1 - layer
                        } else {
                            below + 1
                        }
                    ),
                ];
            }
            task
        })?;
        let board = Self {
            team,
            tasks,
            dependencies,
            ready: layer,
        };
        if dependencies {
            let mut swarm = Swarm::connect(&installation.socket()?, "loader", 1)?;
            let claimed = board.claim(&mut swarm, 64, layer)?;
            let mut ends = claimed.iter().map(|task| end(*task));
            let next = || ends.next().expect("one end for each claimed task");
            swarm.run::<TaskComplete>(&board.team, 64, layer, next, |_| {})?;
        }
        Ok(board)
    }

    /// Claims `count` tasks; returns their numbers, each once.
    fn claim(&self, swarm: &mut Swarm, window: usize, count: usize) -> Result<Vec<u64>> {
        Ok(self.claim_timed(swarm, window, count)?.1)
    }

    fn claim_timed(
        &self,
        swarm: &mut Swarm,
        window: usize,
        count: usize,
    ) -> Result<(f64, Vec<u64>)> {
        let mut answers = Vec::with_capacity(count);
        let took = swarm.run::<TaskClaim>(
            &self.team,
            window,
            count,
            || ClaimTask { task: None },
            |answer| answers.push(answer.to_vec()),
        )?;
        let claimed: Vec<u64> = answers
            .iter()
            .map(|answer| task_number(answer))
            .collect::<Result<_>>()?;
        let distinct: HashSet<&u64> = claimed.iter().collect();
        ensure!(distinct.len() == claimed.len(), "a task was claimed twice");
        Ok((took.as_secs_f64(), claimed))
    }

    fn release(&self, swarm: &mut Swarm, claimed: &[u64]) -> Result<()> {
        let mut ends = claimed.iter().map(|task| end(*task));
        let next = || ends.next().expect("one end for each claimed task");
        swarm.run::<TaskRelease>(&self.team, 64, claimed.len(), next, |_| {})?;
        Ok(())
    }

    /// Claims per second, and records per commit.
    fn round(&self, home: &Path, swarm: &mut Swarm) -> Result<(f64, f64)> {
        let count = self.ready.min(CLAIMS);
        let commit_size = CommitSize::start(home)?;
        let (took, claimed) = self.claim_timed(swarm, 1, count)?;
        let batch = commit_size.mean()?;
        self.release(swarm, &claimed)?;
        Ok((count as f64 / took, batch as f64))
    }

    fn description(&self) -> String {
        let size = self.tasks;
        if self.dependencies {
            format!("{size} tasks with 2 dependencies")
        } else {
            format!("{size} tasks")
        }
    }
}

fn end(task: u64) -> EndTask {
    EndTask {
        task: TaskId(task),
        generation: None,
        text: String::new(),
    }
}

pub(super) fn rates(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut installation = Installation::start(
        &bench.directory,
        "claims",
        &bench.programs,
        Worker::Real,
        Durability::Process,
    )?;
    let sizes: &[usize] = bench.pick(&[100, 1_000, 10_000, 100_000], &[100, 10_000]);
    for &tasks in sizes {
        for dependencies in [false, true] {
            let board = Board::load(&mut installation, tasks, dependencies)?;
            for claimants in [1, 8, 32] {
                rows.push(rate(
                    bench,
                    &installation,
                    &board,
                    claimants,
                    Durability::Process,
                )?);
            }
        }
    }
    drop(installation);
    check_disk(&bench.directory)?;
    let mut installation = Installation::start(
        &bench.directory,
        "claims-64",
        &bench.programs,
        Worker::Real,
        Durability::Power,
    )?;
    let board = Board::load(&mut installation, bench.pick(10_000, 4_000), false)?;
    rows.push(rate(bench, &installation, &board, 64, Durability::Power)?);
    Ok(rows)
}

fn rate(
    bench: &Bench,
    installation: &Installation,
    board: &Board,
    claimants: usize,
    durability: Durability,
) -> Result<Row> {
    let mut swarm = Swarm::connect(&installation.socket()?, &format!("c{claimants}"), claimants)?;
    let (mut rates, mut limits, mut batches) = (Vec::new(), Vec::new(), Vec::new());
    board.round(&installation.home, &mut swarm)?;
    // Repeat the rounds on a small board, so that about as many claims are measured as on a large board.
    let repeats = (1_000 / board.ready).clamp(1, 10);
    for _ in 0..bench.pick(3, 3) {
        let mut rounds = Vec::new();
        for _ in 0..repeats {
            let (rate, batch) = board.round(&installation.home, &mut swarm)?;
            rounds.push(rate);
            batches.push(batch);
        }
        rates.push(Figure::of(rounds).median);
    }
    let batch = Figure::of(batches).median as usize;
    let journal = Rows::newest(&installation.database(&board.team), 5_000)?;
    for _ in 0..rates.len() {
        limits.push(journal.written_per_second(&bench.directory, batch, durability)?);
    }
    let has_target = (claimants == 8 && durability == Durability::Process) || claimants == 64;
    let claimants_text = if claimants == 1 {
        "1 claimant".to_owned()
    } else {
        format!("{claimants} claimants")
    };
    let (rate, limit) = (Figure::of(rates), Figure::of(limits));
    let (target, note) = if has_target {
        let sockets =
            SocketsAlone::measure::<TaskClaim>(bench, claimants, 1, || ClaimTask { task: None })?;
        (Target::RatioAtLeast(0.4), sockets.comparison(&rate, &limit))
    } else {
        (Target::None, String::new())
    };
    Ok(Row::new(
        format!(
            "claims, {claimants_text}, {}, {}",
            board.description(),
            durability.name()
        ),
        Unit::PerSecond,
        rate,
    )
    .limit(format!("SQLite loop, {batch} rows per commit"), limit)
    .target(target)
    .note(note))
}

pub(super) fn board_size(bench: &Bench) -> Result<Vec<Row>> {
    let mut installation = Installation::start(
        &bench.directory,
        "board",
        &bench.programs,
        Worker::Real,
        Durability::Process,
    )?;
    let small = Board::load(&mut installation, 100, false)?;
    let large = Board::load(&mut installation, bench.pick(100_000, 20_000), true)?;
    let mut swarm = Swarm::connect(&installation.socket()?, "claimant", 1)?;
    // Claim the same number of tasks of both boards, one at a time.
    let round = |board: &Board, swarm: &mut Swarm| -> Result<f64> {
        let (took, claimed) = board.claim_timed(swarm, 1, 100)?;
        board.release(swarm, &claimed)?;
        Ok(took * 1e6 / 100.0)
    };
    let (mut from_large, mut from_small) = (Vec::new(), Vec::new());
    for _ in 0..bench.pick(31, 15) {
        from_small.push(round(&small, &mut swarm)?);
        from_large.push(round(&large, &mut swarm)?);
    }
    let row = Row::new(
        format!("a claim from {}", large.description()),
        Unit::Microseconds,
        Figure::of(from_large),
    )
    .limit(
        format!("from {}", small.description()),
        Figure::of(from_small),
    )
    .target(Target::RatioAtMost(1.2));
    Ok(vec![row])
}
