//! Measurement of permission requests: the delay until all waiting members continue after one decision that covers
//! them.

use std::os::unix::net::UnixListener;
use std::time::Instant;

use agent_team_protocol::method::{RequestDecide, RequestList};
use agent_team_protocol::placement::PlacementChoice;
use agent_team_protocol::request::{DecideRequest, Decision, ListRequests, Scope};
use anyhow::{Context as _, Result, ensure};

use super::Bench;
use super::rig::{Commanded, Durability, Installation, Worker, environment, team};
use super::stats::Figure;
use super::table::{Row, Target, Unit};

const MEMBERS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const ROUNDS: usize = 20;

/// The target for this delay, in milliseconds.
const TARGET: f64 = 200.0;

pub(super) fn settled(bench: &Bench) -> Result<Vec<Row>> {
    let mut installation = Installation::start(
        &bench.directory,
        "grants",
        &bench.programs,
        Worker::Stub,
        Durability::Power,
    )?;
    let project = installation.project("grants")?;
    let control = project.join("control");
    let listener = UnixListener::bind(&control)?;
    let mut spec = team(&project, "grants", PlacementChoice::Headless, &MEMBERS)?;
    let control = control
        .to_str()
        .context("the directory name is not UTF-8")?;
    for member in &mut spec.members {
        let name = "AGENT_TEAM_BENCH_CONTROL".to_owned();
        member.env.insert(name, control.to_owned());
    }
    let team = installation.up(spec, environment())?;
    let members: Result<Vec<_>> = MEMBERS
        .map(|_| Commanded::accept(&listener))
        .into_iter()
        .collect();
    let mut members = members?;
    installation.wire.subscribe(&team)?;
    let mut times = Vec::new();
    for round in 0..bench.pick(ROUNDS, ROUNDS / 4) {
        for member in &mut members {
            member.send(&format!("ask {round}"))?;
        }
        installation.wire.wait_for("request_asked", MEMBERS.len())?;
        let list = ListRequests { all: false };
        let pending = installation.wire.call::<RequestList>(Some(&team), list)?;
        let first = pending.requests.first().context("no request is pending")?;
        let decide = DecideRequest {
            request: first.id,
            digest: None,
            via: None,
            decision: Decision::Allow {
                scope: Scope::Team,
                rules: Vec::new(),
            },
        };
        let started = Instant::now();
        installation
            .wire
            .call::<RequestDecide>(Some(&team), decide)?;
        for member in &mut members {
            let allowed = member.receive()?;
            ensure!(allowed == [1.0], "some requests were not allowed");
        }
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    installation.down(&team)?;
    Ok(vec![
        Row::new(
            "one grant, until 8 waiting members continue, power",
            Unit::Milliseconds,
            Figure::of(times),
        )
        .target(Target::AtMost(TARGET)),
    ])
}
