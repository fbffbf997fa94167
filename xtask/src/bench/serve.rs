//! Measurements of `agent-team serve`: events to many clients, latency of a request, and memory.
//!
//! The limit of the events is one write for each event and client on bare sockets. The limit of the latency is an axum
//! route that returns the same bytes, plus the call that the service makes. One thread reads for all clients, both in
//! the measurement and in the limit.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent_team_protocol::TeamId;
use agent_team_protocol::method::{MessageSend, Nothing, TeamShow};
use agent_team_protocol::placement::PlacementChoice;
use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::Bench;
use super::events::{WINDOW, deliveries, message, written};
use super::http::{EmptyRoute, HttpClient};
use super::idle::memory_of;
use super::page;
use super::readers::{End, Readers};
use super::rig::{Durability, Installation, Worker, environment, team};
use super::stats::{Figure, percentile};
use super::swarm::Swarm;
use super::table::{Row, Target, Unit};

/// Clients that follow events while the memory is measured.
const IDLE_CLIENTS: usize = 1_000;

/// The time between the last connection and the measurement of the memory.
const SETTLE: Duration = Duration::from_secs(2);

/// A running service. Killed on drop.
struct Service {
    process: Child,
    address: SocketAddr,
    token: String,
}

impl Service {
    fn start(programs: &Path, installation: &Installation, project: &Path) -> Result<Self> {
        let mut process = Command::new(programs.join("agent-team"))
            .args(["serve", "--json", "--rate-limit", "1000000"])
            .env_clear()
            .envs(environment())
            .env("AGENT_TEAM_HOME", &installation.home)
            .current_dir(project)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start agent-team serve")?;
        let mut line = String::new();
        let output = process.stdout.take().context("the output is a pipe")?;
        let read = BufReader::new(output).read_line(&mut line);
        let mut service = Self {
            process,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token: String::new(),
        };
        read?;
        let printed: serde_json::Value = serde_json::from_str(&line)
            .with_context(|| format!("agent-team serve printed {line:?}"))?;
        let url = printed["url"].as_str().unwrap_or_default();
        let (address, token) = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once("/#"))
            .with_context(|| format!("{url:?} has no token"))?;
        service.address = address.parse()?;
        service.token = token.to_owned();
        Ok(service)
    }

    fn head(&self, method: &str, target: &str) -> String {
        let Self { address, token, .. } = self;
        format!(
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n"
        )
    }

    /// Clients that have received the answer's head, and follow the events from now on.
    fn followers(
        &self,
        installation: &mut Installation,
        team: &TeamId,
        count: usize,
    ) -> Result<Readers<TcpStream>> {
        let show = installation.wire.call::<TeamShow>(Some(team), Nothing {})?;
        let target = format!("/api/v1/events?after={}", show.revision.0);
        let request = self.head("GET", &target) + "\r\n";
        let connect = |_| -> Result<TcpStream> {
            let mut stream = TcpStream::connect(self.address)?;
            stream.write_all(request.as_bytes())?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let streams = (0..count).map(connect).collect::<Result<_>>()?;
        let mut followers = Readers::new(streams, End::EmptyLine);
        // The first event sets the time between reconnections.
        followers.read(1)?;
        Ok(followers)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}

pub(super) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    raise_descriptor_limit()?;
    let mut installation = Installation::start(
        &bench.directory,
        "serve",
        &bench.programs,
        Worker::Real,
        Durability::Process,
    )?;
    let project = installation.project("serve")?;
    let spec = team(&project, "serve", PlacementChoice::Headless, &["ada"])?;
    let team = installation.up(spec, environment())?;
    installation.ready_workers(&team, 1)?;
    let service = Service::start(&bench.programs.real, &installation, &project)?;
    let mut rows = latency(bench, &mut installation, &team, &service)?;
    rows.extend(fan_out(bench, &mut installation, &team, &service)?);
    // Measure the memory of a new process: the earlier measurements have left buffers in the measured service.
    drop(service);
    let service = Service::start(&bench.programs.real, &installation, &project)?;
    rows.push(idle_memory(&mut installation, &team, &service)?);
    match page::rows(bench, service.address, &service.token) {
        Ok(of_page) => rows.extend(of_page),
        Err(error) => rows.push(Row::not_measured("the page", format!("{error:#}"))),
    }
    Ok(rows)
}

/// This process holds two sockets for each client.
fn raise_descriptor_limit() -> Result<()> {
    let (_soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

fn fan_out(
    bench: &Bench,
    installation: &mut Installation,
    team: &TeamId,
    service: &Service,
) -> Result<Vec<Row>> {
    let mut swarm = Swarm::connect(&installation.socket()?, "source", 1)?;
    let mut rows = Vec::new();
    for count in [1, 10, 100, 1_000] {
        // All events fit into the ring of the service: the service would disconnect a client that falls behind the
        // ring.
        let events = bench.pick(4_000, 1_000) / if count == 1_000 { 10 } else { 1 };
        let (mut rates, mut limits) = (Vec::new(), Vec::new());
        for _ in 0..bench.pick(5, 3) {
            let stored = stored_per_second(&mut swarm, team, events)?;
            let mut followers = service.followers(installation, team, count)?;
            match deliveries(&mut swarm, team, &mut followers, events) {
                Ok(rate) => rates.push(rate),
                Err(error) => {
                    let what = format!("events to {count} HTTP clients");
                    rows.push(Row::not_measured(what, format!("{error:#}")));
                    return Ok(rows);
                }
            }
            let length = followers.event_length();
            drop(followers);
            let event = format!("data: {:<1$}\n\n", "an event", length.saturating_sub(8));
            let written = written(tcp_pairs(count)?, &event, End::EmptyLine, events)?;
            limits.push(written.min(stored * count as f64));
        }
        rows.push(
            Row::new(
                format!("events to {count} HTTP clients, deliveries"),
                Unit::PerSecond,
                Figure::of(rates),
            )
            .limit(
                "one write per delivery, of events as fast as they are stored",
                Figure::of(limits),
            )
            .target(Target::RatioAtLeast(0.5)),
        );
    }
    Ok(rows)
}

/// The number of events that the supervisor stores per second, without a client that follows.
fn stored_per_second(swarm: &mut Swarm, team: &TeamId, events: usize) -> Result<f64> {
    let started = Instant::now();
    swarm.run::<MessageSend>(team, WINDOW, events, message, |_| {})?;
    Ok(events as f64 / started.elapsed().as_secs_f64())
}

/// Connected sockets; the second of each pair is in non-blocking mode.
fn tcp_pairs(count: usize) -> Result<Vec<(TcpStream, TcpStream)>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let pair = |_| {
        let receiver = TcpStream::connect(listener.local_addr()?)?;
        receiver.set_nonblocking(true)?;
        let (writer, _) = listener.accept()?;
        writer.set_nodelay(true)?;
        Ok((writer, receiver))
    };
    (0..count).map(pair).collect()
}

fn latency(
    bench: &Bench,
    installation: &mut Installation,
    team: &TeamId,
    service: &Service,
) -> Result<Vec<Row>> {
    let count = bench.pick(1_000, 200);
    let show = service.head("GET", "/api/v1/team") + "\r\n";
    let body = r#"{"to":"user","text":"event"}"#;
    let send = format!(
        "{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        service.head("POST", "/api/v1/messages"),
        body.len()
    );
    let mut client = HttpClient::connect(service.address)?;
    let text = String::from_utf8(client.exchange(&show)?.body)?;
    let release = bench.programs.stub.parent().context("no directory")?;
    let route = EmptyRoute::start(release, &text)?;
    let mut empty = HttpClient::connect(route.address)?;
    let after = |client: &mut HttpClient, request: &str| {
        median(count, || Ok(client.exchange(request)?.after))
    };
    let [
        mut routes,
        mut gets,
        mut posts,
        mut show_calls,
        mut send_calls,
    ] = [const { Vec::new() }; 5];
    for _ in 0..bench.pick(9, 5) {
        routes.push(after(&mut empty, &show)?);
        gets.push(after(&mut client, &show)?);
        posts.push(after(&mut client, &send)?);
        let wire = &mut installation.wire;
        show_calls.push(median(count, || {
            let started = Instant::now();
            wire.call::<TeamShow>(Some(team), Nothing {})?;
            Ok(started.elapsed())
        })?);
        send_calls.push(median(count, || {
            let started = Instant::now();
            wire.call::<MessageSend>(Some(team), message())?;
            Ok(started.elapsed())
        })?);
    }
    let row = |what: &str, times: Vec<f64>, calls: &[f64]| {
        let times = Figure::of(times);
        let limits = routes.iter().zip(calls).map(|(route, call)| route + call);
        let to_route = times.ratio_to(&Figure::of(routes.clone()));
        Row::new(what, Unit::Microseconds, times)
            .limit(
                "an empty axum route, and the call of the socket",
                Figure::of(limits.collect()),
            )
            .target(Target::RatioAtMost(2.0))
            .note(format!("{to_route:.1} × the route alone"))
    };
    Ok(vec![
        row("GET /api/v1/team, p50", gets, &show_calls),
        row("POST /api/v1/messages, p50", posts, &send_calls),
    ])
}

/// The median of these times, in microseconds.
fn median(count: usize, mut exchange: impl FnMut() -> Result<Duration>) -> Result<f64> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        times.push(exchange()?.as_secs_f64() * 1e6);
    }
    Ok(percentile(&times, 50.0))
}

fn idle_memory(installation: &mut Installation, team: &TeamId, service: &Service) -> Result<Row> {
    // The first client makes the service read the stored events into its ring, which all clients share.
    let mut first = service.followers(installation, team, 1)?;
    installation
        .wire
        .call::<MessageSend>(Some(team), message())?;
    first.read(1)?;
    let before = memory_of(service.process.id())?;
    let mut followers = service.followers(installation, team, IDLE_CLIENTS)?;
    std::thread::sleep(SETTLE);
    let memory = memory_of(service.process.id())?;
    // Check that all clients are still connected.
    installation
        .wire
        .call::<MessageSend>(Some(team), message())?;
    followers.read(1)?;
    let grown = (memory.resident - before.resident) * 1024.0 / IDLE_CLIENTS as f64;
    Ok(Row::new(
        "agent-team serve with 1,000 idle clients",
        Unit::Mebibytes,
        Figure::of(vec![memory.resident]),
    )
    .target(Target::AtMost(40.0))
    .note(format!(
        "{:.1} MiB are data of the process; {grown:.1} KiB for each client",
        memory.anonymous
    )))
}
