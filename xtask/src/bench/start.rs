//! Measurements of starting: a whole team, and the replacement of a killed worker, with and without panes.
//!
//! To measure the limit, the bench starts stubs that connect and write a line, with as few calls as possible: one
//! combined tmux command for as many panes as fit into it, or, without panes, one process start for each stub.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent_team_protocol::placement::PlacementChoice;
use agent_team_protocol::spec::TeamSpec;
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Bench;
use super::rig::{Durability, Installation, Worker, environment, team};
use super::sqlite::Rows;
use super::stats::{Figure, percentile};
use super::table::{Row, Target, Unit};

const READY: &str = "launch_ready";

/// The events between the exit of a worker and the readiness of its replacement; each is a commit.
const STEPS: [&str; 2] = ["launch_started", READY];

/// Number of members to kill. Each is killed once, because only the first restart of a member is immediate.
const KILLED: usize = 8;

/// Panes per combined call; they fit into a window of [`SIZE`].
const PANES_PER_CALL: usize = 14;
const SIZE: [&str; 2] = ["200", "50"];

/// The socket that the stubs of the limit connect to.
struct Reports {
    listener: UnixListener,
    socket: PathBuf,
}

impl Reports {
    fn listen(directory: &Path) -> Result<Self> {
        let socket = directory.join("reports");
        Ok(Self {
            listener: UnixListener::bind(&socket)?,
            socket,
        })
    }

    /// Waits for the next stub. Returns its pid, and the stream: the stub exits when the stream is closed.
    fn next(&self) -> Result<(u32, UnixStream)> {
        let mut reader = BufReader::new(self.listener.accept()?.0);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        Ok((
            line.trim()
                .parse()
                .context("the first line of a stub is not a pid")?,
            reader.into_inner(),
        ))
    }

    fn spawn(&self, stub: &Path) -> Result<Child> {
        let mut command = Command::new(stub);
        command
            .arg("line")
            .arg(&self.socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(command.spawn()?)
    }
}

/// A private tmux server.
struct Tmux {
    socket: PathBuf,
}

impl Tmux {
    fn at(directory: &Path) -> Self {
        Self {
            socket: directory.join("tmux"),
        }
    }

    fn call(&self, words: &[String]) -> Result<String> {
        let mut command = Command::new("tmux");
        command
            .args(["-f", "/dev/null", "-S"])
            .arg(&self.socket)
            .args(words)
            .env_remove("TMUX")
            .stdin(Stdio::null());
        let output = command.output().context("cannot start tmux")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tmux: {}", stderr.trim());
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Creates panes that run the stub and have the tags that agent-team sets, in as few calls as possible.
    fn open(&self, stub: &Path, reports: &Path, count: usize) -> Result<()> {
        let pane = |text: &str| {
            text.split(' ')
                .map(str::to_owned)
                .chain([
                    stub.display().to_string(),
                    "line".to_owned(),
                    reports.display().to_string(),
                ])
                .collect::<Vec<String>>()
        };
        let numbers: Vec<usize> = (0..count).collect();
        for (call, panes) in numbers.chunks(PANES_PER_CALL).enumerate() {
            let mut words = Vec::new();
            for (index, number) in panes.iter().enumerate() {
                words.extend(match (call, index) {
                    (0, 0) => pane(&format!(
                        "new-session -d -s bench -x {} -y {}",
                        SIZE[0], SIZE[1]
                    )),
                    // The panes of two calls fit into a window.
                    (_, 0) if call % 2 == 0 => pane("new-window"),
                    _ => pane("split-window"),
                });
                for tag in [
                    "team bench-12345678",
                    &format!("member m{number}"),
                    "launch 0123456789abcdef0123456789abcdef",
                ] {
                    words.extend(
                        format!("; set-option -p @agent_team_{tag}")
                            .split(' ')
                            .map(str::to_owned),
                    );
                }
                words.extend(
                    ["; select-layout tiled", ";"]
                        .join(" ")
                        .split(' ')
                        .map(str::to_owned),
                );
            }
            words.pop();
            self.call(&words)?;
        }
        Ok(())
    }

    fn end(&self) -> Result<()> {
        self.call(&["kill-server".to_owned()])?;
        while self.socket.exists() && UnixStream::connect(&self.socket).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

fn has_tmux() -> bool {
    Command::new("tmux")
        .arg("-V")
        .output()
        .is_ok_and(|output| output.status.success())
}

fn members(project: &Path, count: usize, placement: PlacementChoice) -> Result<TeamSpec> {
    let names: Vec<String> = (1..=count).map(|number| format!("m{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    team(project, "start", placement, &names)
}

pub(super) fn up(bench: &Bench) -> Result<Vec<Row>> {
    let mut installation = Installation::start(
        &bench.directory,
        "up",
        &bench.programs,
        Worker::Real,
        Durability::Power,
    )?;
    let mut rows = Vec::new();
    for placement in [PlacementChoice::Tmux, PlacementChoice::Headless] {
        for count in [4, 10, 50] {
            let what = format!("up of {count} members, {}", placement_name(placement));
            let row = up_of(bench, &mut installation, placement, count, &what);
            rows.push(row.unwrap_or_else(|error| Row::not_measured(what, format!("{error:#}"))));
        }
    }
    Ok(rows)
}

fn up_of(
    bench: &Bench,
    installation: &mut Installation,
    placement: PlacementChoice,
    count: usize,
    what: &str,
) -> Result<Row> {
    if placement == PlacementChoice::Tmux {
        ensure!(has_tmux(), "tmux is not installed");
    }
    let project = installation.project(&format!("up-{}-{count}", placement_name(placement)))?;
    let spec = members(&project, count, placement)?;
    // Start the team once without measuring: the subscription below fails for a team that does not exist.
    let team = installation.up(spec.clone(), environment())?;
    installation.ready_workers(&team, count)?;
    installation.down(&team)?;
    installation.wire.subscribe(&team)?;
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    let (mut worker, mut stub) = (Vec::new(), Vec::new());
    for _ in 0..bench.pick(7, 3) {
        let bare = bare_up(bench, placement, count)?;
        limits.push(bare.took_ms);
        stub.extend(bare.processor_ms);
        let started = Instant::now();
        installation.up(spec.clone(), environment())?;
        let ready = installation.wire.wait_for(READY, count)?;
        ours.push((ready - started).as_secs_f64() * 1e3);
        worker.extend(processor_ms(&installation.ready_workers(&team, count)?));
        installation.down(&team)?;
    }
    let (limit, most) = if placement == PlacementChoice::Tmux {
        ("tmux alone", 1.15)
    } else {
        ("fork+exec alone", 1.5)
    };
    Ok(Row::new(what, Unit::Milliseconds, Figure::of(ours))
        .limit(limit, Figure::of(limits))
        .target(Target::RatioAtMost(most))
        .note(format!(
            "a worker takes {:.1} ms of processor time to start, the stub {:.1}; a worker is ready when its handshake is stored",
            percentile(&worker, 50.0),
            percentile(&stub, 50.0),
        )))
}

/// One measurement of the limit.
struct Bare {
    took_ms: f64,
    processor_ms: Option<f64>,
}

/// The mean processor time of these processes in milliseconds; `None` if the system does not report it.
fn processor_ms(pids: &[u32]) -> Option<f64> {
    let nanoseconds = |task: PathBuf| -> Option<f64> {
        let text = fs::read_to_string(task.join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    let mut sum = 0.0;
    for pid in pids {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        sum += tasks
            .flatten()
            .filter_map(|task| nanoseconds(task.path()))
            .sum::<f64>();
    }
    Some(sum / pids.len() as f64 / 1e6)
}

fn bare_up(bench: &Bench, placement: PlacementChoice, count: usize) -> Result<Bare> {
    let directory = tempfile::tempdir_in(&bench.directory)?;
    let reports = Reports::listen(directory.path())?;
    let stub = &bench.programs.stub;
    let tmux = Tmux::at(directory.path());
    let mut children = Vec::new();
    let started = Instant::now();
    if placement == PlacementChoice::Tmux {
        tmux.open(stub, &reports.socket, count)?;
    } else {
        for _ in 0..count {
            children.push(reports.spawn(stub)?);
        }
    }
    let streams = (0..count)
        .map(|_| reports.next())
        .collect::<Result<Vec<_>>>()?;
    let took = started.elapsed();
    let pids: Vec<u32> = streams.iter().map(|(pid, _)| *pid).collect();
    let processor_ms = processor_ms(&pids);
    // End tmux before the stubs exit: tmux exits with its last pane, and then `kill-server` would fail.
    if placement != PlacementChoice::Headless {
        tmux.end()?;
    }
    drop(streams);
    for mut child in children {
        child.wait()?;
    }
    Ok(Bare {
        took_ms: took.as_secs_f64() * 1e3,
        processor_ms,
    })
}

pub(super) fn restart(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for durability in [Durability::Power, Durability::Process] {
        let name = format!("again-{}", durability.name());
        let mut installation = Installation::start(
            &bench.directory,
            &name,
            &bench.programs,
            Worker::Real,
            durability,
        )?;
        for placement in [PlacementChoice::Tmux, PlacementChoice::Headless] {
            let what = format!(
                "killed worker: its successor is ready, {}, {}",
                placement_name(placement),
                durability.name()
            );
            let row = restart_in(bench, &mut installation, placement, durability, &what);
            rows.push(row.unwrap_or_else(|error| Row::not_measured(what, format!("{error:#}"))));
        }
    }
    Ok(rows)
}

fn restart_in(
    bench: &Bench,
    installation: &mut Installation,
    placement: PlacementChoice,
    durability: Durability,
    what: &str,
) -> Result<Row> {
    if placement == PlacementChoice::Tmux {
        ensure!(has_tmux(), "tmux is not installed");
    }
    let project = installation.project(&format!("restart-{}", placement_name(placement)))?;
    let team = installation.up(members(&project, KILLED, placement)?, environment())?;
    let pids = installation.ready_workers(&team, KILLED)?;
    installation.wire.subscribe(&team)?;
    let mut bare = BareRestart::start(bench, placement)?;
    let mut limits = Vec::new();
    let mut steps: [Vec<f64>; STEPS.len()] = Default::default();
    for pid in pids {
        limits.push(bare.round()?);
        let started = Instant::now();
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
        for (kind, times) in STEPS.iter().zip(&mut steps) {
            times.push((installation.wire.wait_for(kind, 1)? - started).as_secs_f64() * 1e3);
        }
    }
    bare.end()?;
    let rows = Rows::newest(&installation.database(&team), KILLED)?;
    let commits_per_second = rows.written_per_second(&bench.directory, 1, durability)?;
    installation.down(&team)?;
    let limit = if placement == PlacementChoice::Tmux {
        "respawn-pane alone"
    } else {
        "fork+exec alone"
    };
    let note: Vec<String> = STEPS
        .iter()
        .zip(&steps)
        .map(|(kind, times)| format!("{kind} {:.2} ms", percentile(times, 50.0)))
        .collect();
    let [.., ours] = steps;
    Ok(Row::new(what, Unit::Milliseconds, Figure::of(ours))
        .limit(limit, Figure::of(limits))
        .target(Target::RatioAtMost(1.5))
        .note(format!(
            "after the kill: {}; each is stored first, which takes SQLite alone {:.0} µs",
            note.join(", "),
            1e6 / commits_per_second,
        )))
}

/// The limit of a restart: the bench itself kills a stub and starts another one.
struct BareRestart<'a> {
    bench: &'a Bench,
    directory: tempfile::TempDir,
    reports: Reports,
    /// `None`: the stub runs in a pane.
    child: Option<Child>,
    pid: u32,
    stream: UnixStream,
}

impl<'a> BareRestart<'a> {
    fn start(bench: &'a Bench, placement: PlacementChoice) -> Result<Self> {
        let directory = tempfile::tempdir_in(&bench.directory)?;
        let reports = Reports::listen(directory.path())?;
        let child = if placement == PlacementChoice::Headless {
            Some(reports.spawn(&bench.programs.stub)?)
        } else {
            let tmux = Tmux::at(directory.path());
            tmux.open(&bench.programs.stub, &reports.socket, 1)?;
            tmux.call(&["set-option", "-g", "remain-on-exit", "on"].map(str::to_owned))?;
            None
        };
        let (pid, stream) = reports.next()?;
        Ok(Self {
            bench,
            directory,
            reports,
            child,
            pid,
            stream,
        })
    }

    /// Kills the stub and waits for its replacement. Returns the time that this took, in milliseconds.
    fn round(&mut self) -> Result<f64> {
        let started = Instant::now();
        kill(Pid::from_raw(i32::try_from(self.pid)?), Signal::SIGKILL)?;
        match &mut self.child {
            Some(child) => {
                child.wait()?;
                *child = self.reports.spawn(&self.bench.programs.stub)?;
            }
            None => {
                let stub = self.bench.programs.stub.display().to_string();
                let reports = self.reports.socket.display().to_string();
                let words = [
                    "respawn-pane".to_owned(),
                    "-k".to_owned(),
                    stub,
                    "line".to_owned(),
                    reports,
                ];
                Tmux::at(self.directory.path()).call(&words)?;
            }
        }
        (self.pid, self.stream) = self.reports.next()?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }

    fn end(self) -> Result<()> {
        drop(self.stream);
        match self.child {
            Some(mut child) => {
                child.wait()?;
                Ok(())
            }
            None => Tmux::at(self.directory.path()).end(),
        }
    }
}

fn placement_name(placement: PlacementChoice) -> &'static str {
    if placement == PlacementChoice::Tmux {
        "tmux"
    } else {
        "headless"
    }
}
