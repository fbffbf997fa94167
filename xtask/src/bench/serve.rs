//! Measurements of `agent-team serve`: events to many clients, latency of a request, and memory.
//!
//! The limits are bare sockets on the loopback address: one write for each event and client, and a thread that answers
//! each request with the same bytes. In the measurement and in the limit one thread reads for all clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent_team_protocol::TeamId;
use agent_team_protocol::method::{MessageSend, Nothing, TeamShow};
use agent_team_protocol::placement::PlacementChoice;
use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::Bench;
use super::events::{deliveries, message, written};
use super::idle::memory_of;
use super::readers::{End, Readers};
use super::rig::{Durability, Installation, Worker, environment, team};
use super::stats::{Figure, percentile};
use super::swarm::Swarm;
use super::table::{Row, Target, Unit};

/// Clients that follow events while the memory is measured.
const IDLE_CLIENTS: usize = 1_000;

/// The time between the last connection and the measurement of the memory.
const SETTLE: Duration = Duration::from_secs(2);

/// A read that takes longer fails.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

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

    /// Clients that have received the answer's head and all events so far.
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
    // A new process, because the measurements before have left buffers in the other one.
    drop(service);
    let service = Service::start(&bench.programs.real, &installation, &project)?;
    rows.push(idle_memory(&mut installation, &team, &service)?);
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
        // All events fit into the ring of the service: a client that falls behind it would be cut off.
        let events = bench.pick(4_000, 1_000) / if count == 1_000 { 10 } else { 1 };
        let (mut rates, mut limits) = (Vec::new(), Vec::new());
        for _ in 0..bench.pick(5, 3) {
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
            limits.push(written(tcp_pairs(count)?, &event, End::EmptyLine, events)?);
        }
        rows.push(
            Row::new(
                format!("events to {count} HTTP clients, deliveries"),
                Unit::PerSecond,
                Figure::of(rates),
            )
            .limit("one write per delivery", Figure::of(limits))
            .target(Target::RatioAtLeast(0.5)),
        );
    }
    Ok(rows)
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
    let (length, _) = client.exchange(&show)?;
    let bare = bare_server(length)?;
    let mut bare = HttpClient::connect(bare)?;
    let [mut shows, mut sends, mut bares, mut calls] = [const { Vec::new() }; 4];
    for _ in 0..bench.pick(9, 5) {
        bares.push(median(count, || Ok(bare.exchange(&show)?.1))?);
        shows.push(median(count, || Ok(client.exchange(&show)?.1))?);
        sends.push(median(count, || Ok(client.exchange(&send)?.1))?);
        calls.push(median(count, || {
            let started = Instant::now();
            installation
                .wire
                .call::<MessageSend>(Some(team), message())?;
            Ok(started.elapsed())
        })?);
    }
    let with_call = bares.iter().zip(&calls).map(|(bare, call)| bare + call);
    let with_call = Figure::of(with_call.collect());
    Ok(vec![
        Row::new(
            "GET /api/v1/team, p50",
            Unit::Microseconds,
            Figure::of(shows),
        )
        .limit(
            "a thread that answers the same bytes",
            Figure::of(bares.clone()),
        )
        .target(Target::RatioAtMost(2.0)),
        Row::new(
            "POST /api/v1/messages, p50",
            Unit::Microseconds,
            Figure::of(sends),
        )
        .limit("that thread, and a call of the socket", with_call)
        .target(Target::RatioAtMost(2.0)),
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

/// A connection with one request at a time.
struct HttpClient {
    stream: BufReader<TcpStream>,
}

impl HttpClient {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LONGEST_WAIT))?;
        let stream = BufReader::new(stream);
        Ok(Self { stream })
    }

    /// Sends a request, and returns the length of the answer's body and the time until it was read.
    fn exchange(&mut self, request: &str) -> Result<(usize, Duration)> {
        let started = Instant::now();
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        ensure!(line.starts_with("HTTP/1.1 20"), "the answer is {line:?}");
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            let header = line.to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((length, started.elapsed()))
    }
}

/// The limit: a thread that answers each request with a body of this length. It ends with its only connection.
fn bare_server(length: usize) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{:<length$}",
        ""
    );
    std::thread::spawn(move || -> Result<()> {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                stream.get_mut().write_all(answer.as_bytes())?;
            }
        }
    });
    Ok(address)
}

fn idle_memory(installation: &mut Installation, team: &TeamId, service: &Service) -> Result<Row> {
    let before = memory_of(service.process.id())?;
    let followers = service.followers(installation, team, IDLE_CLIENTS)?;
    std::thread::sleep(SETTLE);
    let memory = memory_of(service.process.id())?;
    drop(followers);
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
