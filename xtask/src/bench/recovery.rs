//! Measurements of recovery: the time until the successor of a killed supervisor answers.

use agent_team_protocol::TeamId;
use agent_team_protocol::id::Recipient;
use agent_team_protocol::method::{MessageSend, SendMessage};
use agent_team_protocol::placement::PlacementChoice;
use anyhow::Result;

use super::Bench;
use super::rig::{Durability, Installation, Worker, environment, task, team};
use super::stats::Figure;
use super::swarm::Swarm;
use super::table::{Row, Target, Unit};

const TASKS: usize = 10_000;
const MESSAGES: usize = 100_000;

/// Events in the long journal, and the target for opening it, in milliseconds.
const EVENTS: usize = 1_000_000;
const OPEN_LIMIT: f64 = 2_000.0;

/// Brings up a team with one member, which the next supervisor restores.
fn team_of_one(installation: &mut Installation, name: &str) -> Result<TeamId> {
    let project = installation.project(name)?;
    let spec = team(&project, name, PlacementChoice::Headless, &["bob"])?;
    installation.up(spec, environment())
}

fn send(installation: &Installation, team: &TeamId, count: usize) -> Result<()> {
    let mut swarm = Swarm::connect(&installation.socket()?, "history", 4)?;
    let message = || SendMessage {
        to: Recipient::User,
        text: format!("{:<64}", "history"),
        urgent: false,
        reply_to: None,
        summary: None,
        wants_reply: false,
        attach_outside: false,
    };
    swarm.run::<MessageSend>(team, 128, count, message, |_| {})?;
    Ok(())
}

pub(super) fn successor(bench: &Bench) -> Result<Vec<Row>> {
    let mut installation = Installation::start(
        &bench.directory,
        "succ",
        &bench.programs,
        Worker::Stub,
        Durability::Process,
    )?;
    let team = team_of_one(&mut installation, "succ")?;
    let empty = rounds(bench, &mut installation, &team)?;
    installation.add_tasks(&team, TASKS, |number| task(format!("task {number}")))?;
    let messages = bench.pick(MESSAGES, MESSAGES / 2);
    send(&installation, &team, messages)?;
    let full = rounds(bench, &mut installation, &team)?;
    installation.down(&team)?;
    // A snapshot is due when the journal has as many records after the last snapshot as the board has tasks.
    let why = format!(
        "from exec to the answer about the team; reading the JSON of {TASKS} tasks and at most {TASKS} records takes \
         {:.1} ms",
        full.median - empty.median
    );
    Ok(vec![
        Row::new(
            "killed supervisor: its successor serves, empty board",
            Unit::Milliseconds,
            empty,
        ),
        Row::new(
            format!("killed supervisor: its successor serves, {TASKS} tasks, {messages} messages"),
            Unit::Milliseconds,
            full,
        )
        .target(Target::AtMost(50.0))
        .note(why),
    ])
}

fn rounds(bench: &Bench, installation: &mut Installation, team: &TeamId) -> Result<Figure> {
    let round = |_| Ok(installation.replace_supervisor(team)?.as_secs_f64() * 1e3);
    Ok(Figure::of(
        (0..bench.pick(9, 5)).map(round).collect::<Result<_>>()?,
    ))
}

pub(super) fn long_journal(bench: &Bench) -> Result<Vec<Row>> {
    let mut installation = Installation::start(
        &bench.directory,
        "open",
        &bench.programs,
        Worker::Stub,
        Durability::Process,
    )?;
    let team = team_of_one(&mut installation, "open")?;
    let events = bench.pick(EVENTS, EVENTS / 20);
    send(&installation, &team, events)?;
    let took = rounds(bench, &mut installation, &team)?;
    installation.down(&team)?;
    Ok(vec![
        Row::new(
            format!("a team with {events} events opens"),
            Unit::Milliseconds,
            took,
        )
        .target(Target::AtMost(OPEN_LIMIT))
        .note("from exec to the answer about the team"),
    ])
}
