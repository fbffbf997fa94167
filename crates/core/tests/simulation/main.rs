//! A simulated team: the real core, a clock that jumps, and a world that carries effects out well, badly, late or never.
//!
//! A schedule is drawn at random; after each of its steps the whole team is held against a small model. At the end
//! faults stop, and everything that can be done has to be done. A failing schedule is shrunk and printed, a command a
//! line. `PROPTEST_CASES` sets how many schedules are tried.

mod asks;
mod calls;
mod command;
mod graph;
mod model;
mod outside;
#[path = "../plans/mod.rs"]
mod plans;
mod recount;
mod workers;
mod world;

use proptest::prelude::*;

use command::{Ask, By, Command, Faults, FileChoice, Schedule, schedule};
use world::World;

/// Longest schedule.
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
        "nobody is left after down"
    );
}

/// A failing schedule is the whole cause of its failure, so no seed is kept: it becomes a test with a name.
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
    fn a_team_keeps_its_promises_while_workers_die(
        schedule in schedule(Faults { deaths: 12, crashes: 0, reboots: 0 }, LENGTH)
    ) {
        check(&schedule);
    }

    #[test]
    fn a_team_keeps_its_promises_while_supervisors_die(
        schedule in schedule(Faults { deaths: 5, crashes: 8, reboots: 0 }, LENGTH)
    ) {
        check(&schedule);
    }

    #[test]
    fn a_team_keeps_its_promises_while_machines_restart(
        schedule in schedule(Faults { deaths: 5, crashes: 3, reboots: 2 }, LENGTH)
    ) {
        check(&schedule);
    }
}
