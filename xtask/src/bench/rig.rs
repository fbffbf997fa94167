//! Private installations for measurements, with their own directories, supervisor and team specs.
//!
//! An [`Installation`] changes nothing outside the given directory, and stops its teams and its supervisor on drop.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent_team_protocol::TeamId;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::method::{
    AddTask, Down, Nothing, SupervisorStatus, SupervisorStop, TaskAdd, TaskAnswer, TeamDown,
    TeamShow, TeamUp, Up,
};
use agent_team_protocol::permissions::{PermissionDefaults, Permissions};
use agent_team_protocol::placement::{CallerTerminal, PlacementChoice};
use agent_team_protocol::spec::{
    AgentSpec, Budget, ClaimPolicy, Hooks, Layout, Limits, MemberSpec, Notify, TaskSpec, TeamSpec,
};
use agent_team_protocol::view::SupervisorView;
use anyhow::{Context as _, Result, ensure};

use super::swarm::Swarm;
use super::wire::Wire;

/// How long a supervisor may take to start before a connection attempt fails.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Polling interval for state without events.
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// The measured programs, and the stub that replaces a member in measurements.
pub(super) struct Programs {
    /// The directory of `agent-teamd` and `agent-teammate`.
    pub(super) real: PathBuf,
    pub(super) stub: PathBuf,
}

/// The worker program in the directory of the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worker {
    Real,
    Stub,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    Process,
    Power,
}

impl Durability {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Power => "power",
        }
    }
}

pub(super) struct Installation {
    pub(super) home: PathBuf,
    program: PathBuf,
    supervisor: Child,
    pub(super) wire: Wire,
}

impl Installation {
    /// Starts a supervisor. `name` must be short, because it is part of a socket path.
    pub(super) fn start(
        directory: &Path,
        name: &str,
        programs: &Programs,
        worker: Worker,
        durability: Durability,
    ) -> Result<Self> {
        let home = directory.join(name);
        fs::create_dir_all(home.join("config"))?;
        fs::write(
            home.join("config/config.toml"),
            format!("durability = \"{}\"\n", durability.name()),
        )?;
        let program = match worker {
            Worker::Real => programs.real.join("agent-teamd"),
            Worker::Stub => {
                let bin = home.join("bin");
                fs::create_dir(&bin)?;
                // Copy instead of linking: the supervisor would resolve the link, and find the real worker beside the
                // target of the link.
                fs::copy(programs.real.join("agent-teamd"), bin.join("agent-teamd"))?;
                fs::copy(&programs.stub, bin.join("agent-teammate"))?;
                bin.join("agent-teamd")
            }
        };
        let supervisor = exec_supervisor(&program, &home)?;
        let wire = connect(&home, "bench")?;
        Ok(Self {
            home,
            program,
            supervisor,
            wire,
        })
    }

    /// Creates a project directory for a team.
    pub(super) fn project(&self, name: &str) -> Result<PathBuf> {
        let project = self.home.join("projects").join(name);
        fs::create_dir_all(&project)?;
        Ok(project)
    }

    pub(super) fn socket(&self) -> Result<PathBuf> {
        socket_of(&self.home).context("the supervisor has no socket")
    }

    /// The pids of the workers, once `count` of them are ready.
    pub(super) fn ready_workers(&mut self, team: &TeamId, count: usize) -> Result<Vec<u32>> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let view = self.wire.call::<TeamShow>(Some(team), Nothing {})?;
            let members = view.members.iter();
            let pids: Vec<u32> = members.clone().filter_map(|member| member.pid).collect();
            if pids.len() == count {
                return Ok(pids);
            }
            let why = members.map(|member| member.why.as_str()).next();
            ensure!(
                Instant::now() < deadline,
                "{} of {count} workers are ready: {}",
                pids.len(),
                why.unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn status(&mut self) -> Result<SupervisorView> {
        self.wire.call::<SupervisorStatus>(None, Nothing {})
    }

    /// Starts a team; returns when the call is answered.
    pub(super) fn up(
        &mut self,
        spec: TeamSpec,
        environment: BTreeMap<String, String>,
    ) -> Result<TeamId> {
        Ok(self.wire.call::<TeamUp>(None, up(spec, environment))?.team)
    }

    pub(super) fn down(&mut self, team: &TeamId) -> Result<()> {
        self.wire
            .call::<TeamDown>(Some(team), Down { force: true })?;
        Ok(())
    }

    /// Adds tasks to the board, with many calls in flight.
    pub(super) fn add_tasks(
        &self,
        team: &TeamId,
        count: usize,
        mut task: impl FnMut(usize) -> TaskSpec,
    ) -> Result<()> {
        let mut swarm = Swarm::connect(&self.socket()?, "board", 1)?;
        let mut number = 0;
        let next = || {
            number += 1;
            AddTask { spec: task(number) }
        };
        swarm.run::<TaskAdd>(team, 256, count, next, |_| {})?;
        Ok(())
    }

    /// Kills the supervisor with SIGKILL and starts a new one. Returns the time from the start of the new supervisor to
    /// its first answer about the team. Before this answer, the supervisor must read the journal.
    pub(super) fn replace_supervisor(&mut self, team: &TeamId) -> Result<Duration> {
        self.supervisor.kill()?;
        self.supervisor.wait()?;
        let started = Instant::now();
        self.supervisor = exec_supervisor(&self.program, &self.home)?;
        self.wire = connect(&self.home, "bench")?;
        self.wire
            .call::<agent_team_protocol::method::TeamShow>(Some(team), Nothing {})?;
        Ok(started.elapsed())
    }

    pub(super) fn database(&self, team: &TeamId) -> PathBuf {
        self.home
            .join("state/teams")
            .join(team.as_str())
            .join("team.db")
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        // Use a new connection: after a failed measurement the bench's connection may have unread answers.
        let stopped = connect(&self.home, "last")
            .and_then(|mut wire| wire.call::<SupervisorStop>(None, Nothing {}));
        if let Err(error) = stopped {
            eprintln!(
                "{}: teams may still be running: {error:#}",
                self.home.display()
            );
            let _gone = self.supervisor.kill();
        }
        let _status = self.supervisor.wait();
    }
}

fn exec_supervisor(program: &Path, home: &Path) -> Result<Child> {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("AGENT_TEAM_HOME", home)
        .envs(environment());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .current_dir("/");
    command
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}

fn socket_of(home: &Path) -> Option<PathBuf> {
    let lock = fs::read_to_string(home.join("state/supervisor.lock")).ok()?;
    let socket = lock.lines().next()?;
    Some(PathBuf::from(socket)).filter(|socket| !socket.as_os_str().is_empty())
}

pub(super) fn connect(home: &Path, client: &str) -> Result<Wire> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let connected = socket_of(home)
            .context("no socket yet")
            .and_then(|socket| Wire::connect(&socket, client));
        match connected {
            Ok(wire) => return Ok(wire),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// The variables of this process that teams need.
pub(super) fn environment() -> BTreeMap<String, String> {
    ["PATH", "HOME", "LANG"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
        .collect()
}

pub(super) fn up(spec: TeamSpec, environment: BTreeMap<String, String>) -> Up {
    let path = environment.get("PATH").cloned().unwrap_or_default();
    Up {
        spec,
        environment,
        named: BTreeSet::new(),
        secrets: BTreeMap::new(),
        terminal: CallerTerminal {
            path,
            ..CallerTerminal::default()
        },
        dry_run: false,
        fresh: false,
    }
}

/// A team without tasks. Its members claim only assigned tasks, so that they do not change the board.
pub(super) fn team(
    project: &Path,
    name: &str,
    placement: PlacementChoice,
    members: &[&str],
) -> Result<TeamSpec> {
    let project = project.canonicalize()?;
    let member = |name: &&str| {
        Ok(MemberSpec {
            name: name.parse()?,
            role: "worker".parse()?,
            lead: false,
            engine: Engine::Command,
            colour: None,
            cwd: project.clone(),
            env: BTreeMap::new(),
            claim: ClaimPolicy::Assigned,
            placement: None,
            agent: AgentSpec::default(),
            budget: Budget::default(),
        })
    };
    Ok(TeamSpec {
        name: name.parse()?,
        placement,
        layout: Layout::Tiled,
        limits: Limits {
            teammates: 100,
            ..Limits::default()
        },
        hooks: Hooks::default(),
        notify: Notify::default(),
        permissions: Permissions::default(),
        own_permissions: Vec::new(),
        permission_defaults: PermissionDefaults::default(),
        roles: Vec::new(),
        members: members.iter().map(member).collect::<Result<_>>()?,
        tasks: Vec::new(),
        project,
        trusted: Vec::new(),
        protected: Vec::new(),
    })
}

pub(super) fn task(title: String) -> TaskSpec {
    TaskSpec {
        key: title.clone(),
        title,
        rerun: true,
        run: Some("true".to_owned()),
        ..TaskSpec::default()
    }
}

/// The number of the task in an answer.
pub(super) fn task_number(answer: &[u8]) -> Result<u64> {
    #[derive(serde::Deserialize)]
    struct TaskResponse {
        result: TaskAnswer,
    }
    let TaskResponse { result } = serde_json::from_slice(answer)?;
    Ok(result.task.0)
}

/// A stub that receives commands over its own socket.
pub(super) struct Commanded {
    reader: BufReader<std::os::unix::net::UnixStream>,
}

impl Commanded {
    pub(super) fn accept(listener: &UnixListener) -> Result<Self> {
        let mut reader = BufReader::new(listener.accept()?.0);
        let mut hello = String::new();
        reader.read_line(&mut hello)?;
        ensure!(!hello.is_empty(), "the stub exited");
        Ok(Self { reader })
    }

    pub(super) fn command(&mut self, command: &str) -> Result<Vec<f64>> {
        self.send(command)?;
        self.receive().with_context(|| format!("during: {command}"))
    }

    pub(super) fn send(&mut self, command: &str) -> Result<()> {
        use std::io::Write as _;
        Ok(writeln!(self.reader.get_mut(), "{command}")?)
    }

    pub(super) fn receive(&mut self) -> Result<Vec<f64>> {
        let mut answer = String::new();
        self.reader.read_line(&mut answer)?;
        ensure!(!answer.is_empty(), "the stub exited");
        answer
            .split_whitespace()
            .map(|number| Ok(number.parse()?))
            .collect()
    }
}
