//! Measurements of messages: latency, the effect of a long history, and stored messages per second.
//!
//! In the exchanges, both ends are stub members, each in its own process, which blocks on its socket. The limit of the
//! latency is the latency without a supervisor: two processes of the same program exchange messages through a bare
//! relay in a third process. Rounds of members and of the relay alternate.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Instant;

use agent_team_protocol::TeamId;
use agent_team_protocol::id::Recipient;
use agent_team_protocol::method::{MessageSend, SendMessage};
use agent_team_protocol::placement::PlacementChoice;
use anyhow::{Context as _, Result};

use super::rig::{Commanded, Durability, Installation, Worker, environment, team};
use super::sqlite::Rows;
use super::stats::{Figure, percentile};
use super::swarm::{SocketsAlone, Swarm};
use super::table::{Row, Target, Unit};
use super::{Bench, check_disk};

/// Exchanges per round.
const EXCHANGES: usize = 1_000;
const SYNCED_EXCHANGES: usize = 100;

/// Number of stored messages for the measurement with history.
const HISTORY: usize = 100_000;

/// Maximum number of calls in flight for a flooding member; fewer than an inbox holds.
const WINDOW: usize = 512;

/// A pair of members: one receives commands, the other echoes.
struct Pair {
    sender: Commanded,
    team: TeamId,
}

impl Pair {
    fn start(installation: &mut Installation, name: &str) -> Result<Self> {
        let project = installation.project(name)?;
        let control = project.join("control");
        let listener = UnixListener::bind(&control)?;
        let mut spec = team(&project, name, PlacementChoice::Headless, &["ada", "bob"])?;
        let control = control
            .to_str()
            .context("the directory name is not UTF-8")?
            .to_owned();
        spec.members[0].env.extend([
            ("AGENT_TEAM_BENCH_CONTROL".to_owned(), control),
            ("AGENT_TEAM_BENCH_PEER".to_owned(), "bob".to_owned()),
        ]);
        spec.members[1]
            .env
            .insert("AGENT_TEAM_BENCH_PEER".to_owned(), "ada".to_owned());
        let team = installation.up(spec, environment())?;
        Ok(Self {
            sender: Commanded::accept(&listener)?,
            team,
        })
    }
}

/// The relay that measures the limit of the latency, and the two processes at its ends.
struct Relay {
    sender: Commanded,
    children: Vec<Child>,
}

impl Relay {
    fn start(bench: &Bench, name: &str, file: Option<&Path>) -> Result<Self> {
        let directory = bench.subdirectory(name)?;
        let (socket, control) = (directory.join("relay"), directory.join("control"));
        let listener = UnixListener::bind(&control)?;
        let stub = || Command::new(&bench.programs.stub);
        let mut children = vec![stub().arg("relay").arg(&socket).args(file).spawn()?];
        while !socket.exists() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        children.push(stub().arg("echo").arg(&socket).spawn()?);
        children.push(stub().arg("ping").arg(&socket).arg(&control).spawn()?);
        Ok(Self {
            sender: Commanded::accept(&listener)?,
            children,
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _gone = child.kill();
            let _status = child.wait();
        }
    }
}

/// One-way and round-trip times of a round, in microseconds: p50 and p99 of each.
fn exchange(sender: &mut Commanded, count: usize) -> Result<[f64; 4]> {
    let numbers = sender.command(&format!("ping {count}"))?;
    let (one_way, round_trip): (Vec<f64>, Vec<f64>) = numbers
        .chunks_exact(2)
        .map(|pair| (pair[0] / 1_000.0, pair[1] / 1_000.0))
        .unzip();
    Ok([
        percentile(&one_way, 50.0),
        percentile(&one_way, 99.0),
        percentile(&round_trip, 50.0),
        percentile(&round_trip, 99.0),
    ])
}

pub(super) fn latency(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for durability in [Durability::Process, Durability::Power] {
        let name = format!("lat-{}", durability.name());
        let mut installation = Installation::start(
            &bench.directory,
            &name,
            &bench.programs,
            Worker::Stub,
            durability,
        )?;
        let mut ours = Pair::start(&mut installation, "pair")?;
        let (file, what, count) = match durability {
            Durability::Process => (None, "relay", bench.pick(EXCHANGES, EXCHANGES / 2)),
            Durability::Power => {
                check_disk(&bench.directory)?;
                let count = bench.pick(SYNCED_EXCHANGES, SYNCED_EXCHANGES / 2);
                (
                    Some(bench.directory.join("relayed")),
                    "relay that syncs",
                    count,
                )
            }
        };
        let mut relay = Relay::start(
            bench,
            &format!("relay-{}", durability.name()),
            file.as_deref(),
        )?;
        let (mut measured, mut limits) = (Vec::new(), Vec::new());
        exchange(&mut ours.sender, count)?;
        exchange(&mut relay.sender, count)?;
        for _ in 0..bench.pick(9, 5) {
            limits.push(exchange(&mut relay.sender, count)?);
            measured.push(exchange(&mut ours.sender, count)?);
        }
        let column = |rounds: &[[f64; 4]], which: usize| {
            Figure::of(rounds.iter().map(|round| round[which]).collect())
        };
        let target = match durability {
            Durability::Process => Target::RatioAtMost(3.0),
            Durability::Power => Target::RatioAtMost(1.5),
        };
        for (which, (text, target)) in [
            ("one way p50", target),
            ("one way p99", Target::None),
            ("round trip p50", Target::None),
            ("round trip p99", Target::None),
        ]
        .into_iter()
        .enumerate()
        {
            let text = format!("message {text}, {}", durability.name());
            let row = Row::new(text, Unit::Microseconds, column(&measured, which))
                .limit(what, column(&limits, which))
                .target(target);
            rows.push(match (durability, which) {
                (Durability::Power, 0) => {
                    let rows = Rows::newest(&installation.database(&ours.team), count)?;
                    row.note(syncs_alone(bench, &rows)?)
                }
                (Durability::Power | Durability::Process, _) => row,
            });
        }
        installation.down(&ours.team)?;
    }
    Ok(rows)
}

/// The cost of one sync, once for SQLite and once for a plain file, without other load.
fn syncs_alone(bench: &Bench, rows: &Rows) -> Result<String> {
    let per_second = rows.written_per_second(&bench.directory, 1, Durability::Power)?;
    let mut file = tempfile::tempfile_in(&bench.directory)?;
    let count = bench.pick(SYNCED_EXCHANGES, SYNCED_EXCHANGES / 2);
    let started = Instant::now();
    for _ in 0..count {
        file.write_all(&[0; 64])?;
        file.sync_data()?;
    }
    let append = started.elapsed().as_secs_f64() * 1e6 / count as f64;
    Ok(format!(
        "SQLite alone takes {:.0} µs to commit such a row, and a synced append alone {append:.0} µs",
        1e6 / per_second
    ))
}

pub(super) fn history(bench: &Bench) -> Result<Vec<Row>> {
    let mut installation = Installation::start(
        &bench.directory,
        "hist",
        &bench.programs,
        Worker::Stub,
        Durability::Process,
    )?;
    let mut short = Pair::start(&mut installation, "short")?;
    let mut long = Pair::start(&mut installation, "long")?;
    let stored = bench.pick(HISTORY, HISTORY / 4);
    let mut swarm = Swarm::connect(&installation.socket()?, "history", 4)?;
    swarm.run::<MessageSend>(&long.team, 128, stored, || message(Recipient::User), |_| {})?;
    let count = bench.pick(EXCHANGES, EXCHANGES / 2);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..bench.pick(9, 5) {
        without.push(exchange(&mut short.sender, count)?[0]);
        with.push(exchange(&mut long.sender, count)?[0]);
    }
    installation.down(&short.team)?;
    installation.down(&long.team)?;
    let row = Row::new(
        format!("message one way p50 with {stored} stored"),
        Unit::Microseconds,
        Figure::of(with),
    )
    .limit("with few stored", Figure::of(without))
    .target(Target::RatioAtMost(1.1));
    Ok(vec![row])
}

fn message(to: Recipient) -> SendMessage {
    SendMessage {
        to,
        text: format!("{:<64}", "flood"),
        urgent: false,
        reply_to: None,
        summary: None,
        wants_reply: false,
        attach_outside: false,
    }
}

pub(super) fn flood(bench: &Bench) -> Result<Vec<Row>> {
    Ok(vec![one_pair(bench)?, many_senders(bench)?])
}

fn one_pair(bench: &Bench) -> Result<Row> {
    let mut installation = Installation::start(
        &bench.directory,
        "fl-pair",
        &bench.programs,
        Worker::Stub,
        Durability::Process,
    )?;
    let mut pair = Pair::start(&mut installation, "pair")?;
    let count = bench.pick(100_000, 30_000);
    let (mut rates, mut limits, mut batches, mut refusals) =
        (Vec::new(), Vec::new(), Vec::new(), 0.0);
    for _ in 0..bench.pick(5, 3) {
        let commit_size = CommitSize::start(&installation.home)?;
        let numbers = pair.sender.command(&format!("flood {count} {WINDOW}"))?;
        let batch = commit_size.mean()?;
        rates.push(count as f64 / (numbers[0] / 1e9));
        refusals += numbers[1];
        let rows = Rows::newest(&installation.database(&pair.team), 10_000)?;
        limits.push(rows.written_per_second(&bench.directory, batch, Durability::Process)?);
        batches.push(batch as f64);
    }
    installation.down(&pair.team)?;
    let (rate, limit) = (Figure::of(rates), Figure::of(limits));
    let to = || message(Recipient::Member("bob".parse().expect("a plain name")));
    let sockets = SocketsAlone::measure::<MessageSend>(bench, 1, WINDOW, to)?;
    let note = format!(
        "{WINDOW} calls in flight, about {:.0} records per commit; the inbox was full {refusals:.0} times; {}",
        percentile(&batches, 50.0),
        sockets.comparison(&rate, &limit)
    );
    Ok(
        Row::new("messages stored, one pair, process", Unit::PerSecond, rate)
            .limit("SQLite loop", limit)
            .target(Target::RatioAtLeast(0.4))
            .note(note),
    )
}

fn many_senders(bench: &Bench) -> Result<Row> {
    const SENDERS: usize = 64;
    check_disk(&bench.directory)?;
    let mut installation = Installation::start(
        &bench.directory,
        "fl-64",
        &bench.programs,
        Worker::Stub,
        Durability::Power,
    )?;
    let pair = Pair::start(&mut installation, "pair")?;
    let count = bench.pick(30_000, 6_000);
    let mut swarm = Swarm::connect(&installation.socket()?, "sender", SENDERS)?;
    let to = || message(Recipient::Member("bob".parse().expect("a plain name")));
    let (mut rates, mut limits, mut batches) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.pick(5, 3) {
        let commit_size = CommitSize::start(&installation.home)?;
        let took = swarm.run::<MessageSend>(&pair.team, 1, count, to, |_| {})?;
        let batch = commit_size.mean()?;
        rates.push(count as f64 / took.as_secs_f64());
        let rows = Rows::newest(&installation.database(&pair.team), 10_000)?;
        limits.push(rows.written_per_second(&bench.directory, batch, Durability::Power)?);
        batches.push(batch as f64);
    }
    installation.down(&pair.team)?;
    let (rate, limit) = (Figure::of(rates), Figure::of(limits));
    let sockets = SocketsAlone::measure::<MessageSend>(bench, SENDERS, 1, to)?;
    let note = format!(
        "one call in flight per sender, about {:.0} records per commit; {}",
        percentile(&batches, 50.0),
        sockets.comparison(&rate, &limit)
    );
    Ok(
        Row::new("messages stored, 64 senders, power", Unit::PerSecond, rate)
            .limit("SQLite loop", limit)
            .target(Target::RatioAtLeast(0.4))
            .note(note),
    )
}

/// Measures the size of the supervisor's commits from [`CommitSize::start`] to [`CommitSize::mean`].
pub(super) struct CommitSize {
    wire: super::wire::Wire,
    /// Numbers of records and commits at the start.
    before: (u64, u64),
}

impl CommitSize {
    pub(super) fn start(home: &Path) -> Result<Self> {
        let mut wire = super::rig::connect(home, "watcher")?;
        let before = Self::count(&mut wire)?;
        Ok(Self { wire, before })
    }

    /// The mean number of records per commit; at least 1.
    pub(super) fn mean(mut self) -> Result<usize> {
        let (records, commits) = Self::count(&mut self.wire)?;
        let (records, commits) = (records - self.before.0, commits - self.before.1);
        Ok(usize::try_from(records / commits.max(1))?.max(1))
    }

    fn count(wire: &mut super::wire::Wire) -> Result<(u64, u64)> {
        let view = wire.call::<agent_team_protocol::method::SupervisorStatus>(
            None,
            agent_team_protocol::method::Nothing {},
        )?;
        let counted = view.teams.iter();
        Ok(counted.fold((0, 0), |(records, commits), team| {
            (records + team.revision.0, commits + team.commits)
        }))
    }
}
