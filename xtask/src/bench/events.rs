//! Measurements of events: deliveries per second, and the delay until the last of many subscribers has received an
//! event.
//!
//! One thread reads for all subscribers, both in the measurement and in the bare writes that the result is compared
//! with (the limit). So both include the cost of reading.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use agent_team_protocol::TeamId;
use agent_team_protocol::id::Recipient;
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::method::{
    EventSubscribe, MessageSend, Nothing, SendMessage, Subscribe, TeamShow,
};
use agent_team_protocol::placement::PlacementChoice;
use agent_team_protocol::rpc::{self, Call, TeamRef};
use anyhow::Result;

use super::Bench;
use super::readers::{End, Readers};
use super::rig::{Durability, Installation, Worker, environment, team};
use super::stats::{Figure, percentile};
use super::swarm::Swarm;
use super::table::{Row, Target, Unit};

/// Maximum number of calls in flight for the client whose messages become the events.
pub(super) const WINDOW: usize = 256;

fn subscribers(
    installation: &mut Installation,
    team: &TeamId,
    count: usize,
) -> Result<Readers<UnixStream>> {
    let socket = installation.socket()?;
    let after = installation
        .wire
        .call::<TeamShow>(Some(team), Nothing {})?
        .revision;
    let subscribe = |number| {
        let mut stream = UnixStream::connect(&socket)?;
        stream.write_all(
            rpc::initialize(0, &Initialize::client(format!("subscriber-{number}"))).as_bytes(),
        )?;
        let call = Call {
            team: Some(TeamRef::Id(team.clone())),
            key: None,
            args: Subscribe {
                after,
                transient: false,
            },
        };
        stream.write_all(rpc::request::<EventSubscribe>(1, &call).as_bytes())?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    let streams = (0..count).map(subscribe).collect::<Result<_>>()?;
    let mut readers = Readers::new(streams, End::Line);
    // The answers to the handshake and to the subscription.
    readers.read(2)?;
    Ok(readers)
}

pub(super) fn fan_out(bench: &Bench) -> Result<Vec<Row>> {
    let mut installation = Installation::start(
        &bench.directory,
        "events",
        &bench.programs,
        Worker::Real,
        Durability::Process,
    )?;
    let project = installation.project("events")?;
    let spec = team(&project, "events", PlacementChoice::Headless, &[])?;
    let team = installation.up(spec, environment())?;
    let mut swarm = Swarm::connect(&installation.socket()?, "source", 1)?;
    let mut rows = Vec::new();
    for count in [1, 10, 100] {
        let events = bench.pick(20_000, 5_000) / if count == 100 { 2 } else { 1 };
        let (mut rates, mut limits) = (Vec::new(), Vec::new());
        for _ in 0..bench.pick(5, 3) {
            limits.push(bare_deliveries(count, events)?);
            let mut readers = subscribers(&mut installation, &team, count)?;
            match deliveries(&mut swarm, &team, &mut readers, events) {
                Ok(rate) => rates.push(rate),
                Err(error) => {
                    let what = format!("events to {count} subscribers");
                    rows.push(Row::not_measured(what, format!("{error:#}")));
                    return Ok(rows);
                }
            }
        }
        let target = if count == 100 {
            Target::RatioAtLeast(0.5)
        } else {
            Target::None
        };
        rows.push(
            Row::new(
                format!("events to {count} subscribers, deliveries"),
                Unit::PerSecond,
                Figure::of(rates),
            )
            .limit("one write per delivery", Figure::of(limits))
            .target(target),
        );
    }
    rows.push(last_of_many(bench, &mut installation, &team)?);
    Ok(rows)
}

/// Deliveries per second from the first call to the last subscriber's last event.
pub(super) fn deliveries<S: Read + AsFd + Send>(
    swarm: &mut Swarm,
    team: &TeamId,
    readers: &mut Readers<S>,
    events: usize,
) -> Result<f64> {
    let count = readers.count();
    let started = Instant::now();
    let ended = std::thread::scope(|scope| {
        let reading = scope.spawn(|| readers.read(events));
        swarm.run::<MessageSend>(team, WINDOW, events, message, |_| {})?;
        reading.join().expect("reading does not panic")
    })?;
    Ok((events * count) as f64 / (ended.1 - started).as_secs_f64())
}

pub(super) fn message() -> SendMessage {
    SendMessage {
        to: Recipient::User,
        text: format!("{:<64}", "event"),
        urgent: false,
        reply_to: None,
        summary: None,
        wants_reply: false,
        attach_outside: false,
    }
}

/// The limit: deliveries per second of a thread that only writes each event to each client.
fn bare_deliveries(count: usize, events: usize) -> Result<f64> {
    let pairs = (0..count)
        .map(|_| UnixStream::pair())
        .collect::<io::Result<Vec<_>>>()?;
    for (_, receiver) in &pairs {
        receiver.set_nonblocking(true)?;
    }
    let event = format!("{:<219}\n", "an event of the usual length");
    written(pairs, &event, End::Line, events)
}

/// Deliveries per second of a thread that writes this event `events` times to the first socket of each pair, while
/// another thread reads the second sockets. The second sockets must be in non-blocking mode.
pub(super) fn written<S: Read + Write + AsFd + Send>(
    pairs: Vec<(S, S)>,
    event: &str,
    end: End,
    events: usize,
) -> Result<f64> {
    let (mut writers, receivers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let mut readers = Readers::new(receivers, end);
    let count = writers.len();
    let started = Instant::now();
    let ended = std::thread::scope(|scope| {
        let reading = scope.spawn(|| readers.read(events));
        for _ in 0..events {
            for client in &mut writers {
                client.write_all(event.as_bytes())?;
            }
        }
        reading.join().expect("reading does not panic")
    })?;
    Ok((events * count) as f64 / (ended.1 - started).as_secs_f64())
}

/// The delay from a commit until the last of 100 subscribers has received the event. The commit counts from the answer
/// to the caller or from the first received event, whichever is earlier.
fn last_of_many(bench: &Bench, installation: &mut Installation, team: &TeamId) -> Result<Row> {
    const SUBSCRIBERS: usize = 100;
    let mut readers = subscribers(installation, team, SUBSCRIBERS)?;
    let mut delays = Vec::new();
    for _ in 0..bench.pick(200, 50) {
        let (answered, (first, last)) = std::thread::scope(|scope| -> Result<_> {
            let reading = scope.spawn(|| readers.read(1));
            installation
                .wire
                .call::<MessageSend>(Some(team), message())?;
            let answered = Instant::now();
            Ok((answered, reading.join().expect("reading does not panic")?))
        })?;
        let delay: Duration = last.duration_since(first.min(answered));
        delays.push(delay.as_secs_f64() * 1e3);
    }
    let (p50, p99) = (percentile(&delays, 50.0), percentile(&delays, 99.0));
    Ok(Row::new(
        format!("delay from the commit to the last of {SUBSCRIBERS} subscribers, p50"),
        Unit::Milliseconds,
        Figure::of(vec![p50]),
    )
    .target(Target::AtMost(0.5))
    .note(format!("p99 {p99:.2} ms")))
}
