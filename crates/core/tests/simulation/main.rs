//! Simulates a team: the real core, a clock that jumps, and an environment that runs effects correctly, badly, late or
//! never.
//!
//! A schedule of commands is random; after each input the whole team is compared with a small model. At the end faults
//! stop, and all remaining work must complete. A failing schedule is shrunk and printed, one command per line.
//! `PROPTEST_CASES` sets the number of schedules.

mod calls;
mod command;
mod command_calls;
mod environment;
mod graph;
mod model;
mod recount;
#[path = "../rules/specs.rs"]
mod specs;
mod workers;
mod world;

use proptest::prelude::*;

use command::{Ask, By, Command, Faults, FileChoice, Schedule, schedule};
use world::World;

/// Maximum length of a schedule.
const LENGTH: usize = 300;

fn check(schedule: &Schedule) {
    let mut world = World::new();
    let start = FileChoice {
        workers: 0b111,
        lead: true,
        foreign: 0b10,
        changed_settings: 0,
        changed_colours: 0,
        runs_only: 0b100,
        assigned_only: 0,
        limit: 5,
        starting: 1,
        hooks: false,
        tasks: Vec::new(),
    };
    world.run(&Command::Call {
        by: By::User(0),
        ask: Ask::Up(start),
        keyed: true,
    });
    for command in &schedule.0 {
        world.run(command);
    }
    world.calm_down();
    world.run(&Command::Call {
        by: By::User(0),
        ask: Ask::Down { force: true },
        keyed: true,
    });
    world.calm_down();
    assert!(
        world.team.is_down() && world.workers.is_empty(),
        "the team is not down, or a process is left"
    );
}

/// Stores no seeds of failures: a failing schedule describes its failure completely and becomes a named test.
fn config(times: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases * times,
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn invariants_hold_while_workers_crash(
        schedule in schedule(Faults { deaths: 12, crashes: 0, reboots: 0 }, LENGTH)
    ) {
        check(&schedule);
    }

    #[test]
    fn invariants_hold_while_supervisors_crash(
        schedule in schedule(Faults { deaths: 5, crashes: 8, reboots: 0 }, LENGTH)
    ) {
        check(&schedule);
    }

    #[test]
    fn invariants_hold_across_reboots(
        schedule in schedule(Faults { deaths: 5, crashes: 3, reboots: 2 }, LENGTH)
    ) {
        check(&schedule);
    }
}
