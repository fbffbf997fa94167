//! A scripted supervisor with the real socket and protocol, and its worker processes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_team_protocol::engine::Engine;
use agent_team_protocol::id::LaunchId;
use agent_team_protocol::initialize::{ConnectionRole, Initialize};
use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::notification::{Assignment, TaskSession};
use agent_team_protocol::spec::AgentSpec;
use agent_team_protocol::{Generation, TaskId, TeamId, TeamName};
use agent_team_system::lock::FileLock;
use agent_team_system::process::{ExitWatch, ProcessId, Signal};
use agent_team_system::pty::Pty;
use agent_team_system::socket::Listener;
use agent_team_system::spawn::{Child, ProgramSpec, spawn_session};
use agent_team_system::tree::Tree;
use tempfile::TempDir;

use crate::wire::Connection;

/// The time limit for each step of a test, longer than any step takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

const TOKEN: &str = "5ec2e7";

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("timed out waiting for {what}"),
    }
}

/// Listens on a supervisor's socket and holds its lock, with one launch of the member `ada`.
pub(crate) struct ScriptedSupervisor {
    home: TempDir,
    listener: Listener,
    lock: FileLock,
    launch: LaunchId,
}

impl ScriptedSupervisor {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        for directory in ["state", "run", "run/launch", "project"] {
            std::fs::create_dir(home.path().join(directory)).unwrap();
        }
        let socket = home.path().join("run/supervisor.sock");
        let lock = home.path().join("state/supervisor.lock");
        let mut lock = FileLock::try_acquire(&lock).unwrap().unwrap();
        let listener = Listener::bind_replacing_stale(&lock, &socket).unwrap();
        lock.write_contents(socket.to_str().unwrap()).unwrap();
        // Tests that run concurrently have directories with different names, so their ids differ.
        let bits = home.path().as_os_str().as_encoded_bytes().iter();
        let bits = bits.fold(7_u128, |bits, byte| {
            bits.wrapping_mul(131) + u128::from(*byte)
        });
        Self {
            home,
            listener,
            lock,
            launch: LaunchId::from_bits(bits),
        }
    }

    /// Replaces the socket, as the next supervisor does.
    pub(crate) fn listen_again(&mut self) {
        let socket = self.path("run/supervisor.sock");
        self.listener = Listener::bind_replacing_stale(&self.lock, &socket).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn team(&self) -> TeamId {
        let name: TeamName = "demo".parse().unwrap();
        TeamId::new(&name, &self.path("project"))
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("ada.log")).unwrap_or_default()
    }

    /// Writes the launch file and returns its path.
    pub(crate) fn launch_file(&self, cwd: &Path) -> PathBuf {
        self.launch_with(cwd, Engine::Command, AgentSpec::default())
    }

    pub(crate) fn launch_with(&self, cwd: &Path, engine: Engine, agent: AgentSpec) -> PathBuf {
        let path = std::env::var("PATH").unwrap();
        let file = LaunchFile {
            supervisor_lock: self.path("state/supervisor.lock"),
            team: self.team(),
            member: "ada".parse().unwrap(),
            launch: self.launch.clone(),
            token: TOKEN.into(),
            cwd: cwd.to_owned(),
            environment: BTreeMap::from([("PATH".into(), path), ("GIVEN".into(), "yes".into())]),
            named: BTreeSet::from(["GIVEN".into()]),
            secrets: BTreeMap::new(),
            log: self.path("ada.log"),
            engine,
            role: "worker".parse().unwrap(),
            lead: false,
            project: self.path("project"),
            agent,
            usd_limit: false,
            relaunched: None,
        };
        let path = self.path("run/launch").join(self.launch.as_str());
        let bytes = serde_json::to_vec(&file).unwrap();
        agent_team_system::private_file::create(&path, &bytes).unwrap();
        path
    }

    fn spec(&self, launch_file: &Path) -> ProgramSpec {
        ProgramSpec {
            program: program_of(launch_file).into(),
            args: vec!["--launch".into(), launch_file.into()],
            // The environment of the worker differs from the environment of its member.
            env: vec![
                ("TERM".into(), "tmux-256color".into()),
                ("STRAY".into(), "1".into()),
            ],
            cwd: "/".into(),
        }
    }

    fn guard(&self, child: Child) -> Worker {
        let tree = Tree {
            root: Some(child.process),
            sessions: Vec::new(),
            marker: self.launch.to_string(),
        };
        let launch = self.launch.clone();
        Worker {
            child,
            launch,
            tree,
        }
    }

    /// Starts a worker without a terminal, for a launch file that may no longer exist.
    pub(crate) fn spawn_for(&self, launch_file: &Path) -> Worker {
        self.guard(spawn_session(&self.spec(launch_file), None).unwrap())
    }

    /// Starts a worker without a terminal.
    pub(crate) fn headless(&self) -> Worker {
        self.spawn_for(&self.launch_file(&self.path("project")))
    }

    /// Starts a worker in a pane of 100 columns and 30 rows.
    pub(crate) fn in_pane(&self) -> (Worker, Pane) {
        self.in_pane_for(&self.launch_file(&self.path("project")))
    }

    /// Like `in_pane`, for an existing launch file.
    pub(crate) fn in_pane_for(&self, launch_file: &Path) -> (Worker, Pane) {
        let pty = Pty::open(100, 30).unwrap();
        let spec = self.spec(launch_file);
        let worker = self.guard(pty.spawn(&spec).unwrap());
        let pane = Pane {
            pty,
            seen: String::new(),
            from: 0,
        };
        (worker, pane)
    }

    /// Starts an attach helper on a terminal of the user.
    pub(crate) fn attach(&self) -> (Worker, Pane) {
        let pty = Pty::open(100, 30).unwrap();
        let spec = ProgramSpec {
            program: env!("CARGO_BIN_EXE_agent-teammate").into(),
            args: vec![
                "--attach".into(),
                self.path("run/supervisor.sock").into(),
                self.team().as_str().into(),
                self.launch.as_str().into(),
            ],
            env: Vec::new(),
            cwd: "/".into(),
        };
        let helper = self.guard(pty.spawn(&spec).unwrap());
        let pane = Pane {
            pty,
            seen: String::new(),
            from: 0,
        };
        (helper, pane)
    }

    /// Accepts the next connection and reads its `initialize`, without an answer.
    pub(crate) async fn accept(&self) -> (Connection, Initialize) {
        let stream = within("a connection", self.listener.accept()).await;
        Connection::greeted(stream.unwrap()).await
    }

    /// Accepts the member's connection and checks its token. Does not answer its `initialize`.
    pub(crate) async fn accept_member(&self) -> Connection {
        let (connection, initialize) = self.accept().await;
        assert_eq!(initialize.role, ConnectionRole::Member);
        assert_eq!(initialize.token.as_deref(), Some(TOKEN));
        assert_eq!(initialize.launch.as_ref(), Some(&self.launch));
        assert_eq!(initialize.team, Some(self.team()));
        connection
    }

    /// Accepts the member's connection, and answers its `initialize` with a welcome.
    pub(crate) async fn member(&self, holds: Option<Assignment>) -> Connection {
        let mut connection = self.accept_member().await;
        connection.welcome(self, holds).await;
        connection
    }
}

/// A worker process. Dropping this value kills the worker and all processes that it started.
pub(crate) struct Worker {
    pub(crate) child: Child,
    launch: LaunchId,
    tree: Tree,
}

impl Worker {
    pub(crate) fn launch(&self) -> LaunchId {
        self.launch.clone()
    }

    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        within("the worker to exit", self.child.wait())
            .await
            .unwrap()
            .code()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        assert!(self.child.signal(signal).unwrap(), "the worker has exited");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The outcome does not matter to the test.
        let _killed = self.tree.signal_all(Signal::SIGKILL);
    }
}

/// The user's side of a pane.
pub(crate) struct Pane {
    pty: Pty,
    seen: String,
    /// The offset after the last text that a test waited for.
    from: usize,
}

impl Pane {
    pub(crate) async fn type_in(&self, keys: &str) {
        within("the pane to take keys", self.pty.write_all(keys.as_bytes()))
            .await
            .unwrap();
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.pty.resize(columns, rows).unwrap();
    }

    /// Reads until the pane has shown this text after the text of the previous call.
    pub(crate) async fn shows(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        while !self.seen[self.from..].contains(text) {
            let read = tokio::time::timeout(LIMIT, self.pty.read(&mut buffer)).await;
            let Ok(read) = read else {
                panic!(
                    "timed out waiting for {text:?} in {:?}",
                    &self.seen[self.from..]
                );
            };
            let read = read.unwrap();
            assert!(read > 0, "the pane closed before {text:?}: {:?}", self.seen);
            self.seen
                .push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        let at = self.seen[self.from..].find(text).expect("found above");
        self.from += at + text.len();
    }

    /// Everything that the pane has shown so far.
    pub(crate) fn seen(&self) -> &str {
        &self.seen
    }
}

/// The first claim of `T-1`, with this line.
pub(crate) fn task(run: &str) -> Assignment {
    Assignment {
        task: TaskId(1),
        generation: Generation(1),
        title: "Build".into(),
        description: String::new(),
        run: Some(run.into()),
        verify: None,
        attempt: 1,
        files: Vec::new(),
    }
}

/// Waits until this process has exited.
pub(crate) async fn ended(pid: u32) {
    let Some(process) = ProcessId::of(pid).unwrap() else {
        return;
    };
    if let Some(mut watch) = ExitWatch::open(process).unwrap() {
        let what = format!("the end of process {pid}");
        within(&what, watch.exited()).await.unwrap();
    }
}

/// Starts a headless worker that runs a task, and accepts its member's connection.
pub(crate) async fn at_work() -> (ScriptedSupervisor, Worker, Connection, TaskSession) {
    let supervisor = ScriptedSupervisor::new();
    let worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    member.notify(&task("exec sleep 1000")).await;
    let session = member.noticed::<TaskSession>(|_| true).await;
    (supervisor, worker, member, session)
}

/// The worker program for a launch; `agent-teammate` if the launch file no longer exists.
fn program_of(launch_file: &Path) -> &'static str {
    let launch = std::fs::read(launch_file).ok();
    let launch = launch.map(|bytes| serde_json::from_slice::<LaunchFile>(&bytes).unwrap());
    let engine = launch.map_or(Engine::Command, |launch| launch.engine);
    let programs = [
        env!("CARGO_BIN_EXE_agent-teammate"),
        env!("CARGO_BIN_EXE_agent-teammate-native"),
    ];
    let is_worker = |path: &&str| Path::new(path).ends_with(engine.worker());
    programs.into_iter().find(is_worker).unwrap()
}
