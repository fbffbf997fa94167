//! Directories of a test's own, and the binary run in them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use agent_team_system::lock::FileLock;
use agent_team_system::process::{ProcessId, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) struct Rig {
    pub(crate) directory: TempDir,
}

/// What a command said, and how it ended.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let rig = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(rig.project()).unwrap();
        rig
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.directory.path().join("project")
    }

    pub(crate) fn team_file(&self, text: &str) {
        let directory = self.project().join(".agent-team");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("team.toml"), text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-team"));
        command
            .args(arguments)
            .current_dir(self.project())
            // Nothing of the environment that the tests run in: a user's tmux, terminal, keys and proxies change what
            // verbs do.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path())
            .env("AGENT_TEAM_HOME", self.home())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        said(&self.command(arguments).output().unwrap())
    }

    /// Runs it while the test goes on.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Self::start_command(self.command(arguments))
    }

    pub(crate) fn start_command(mut command: Command) -> Running {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(Some(command.spawn().unwrap()))
    }

    /// No supervisor was started: there is no lock, or nobody has written a socket's path into it.
    pub(crate) fn nothing_was_started(&self) -> bool {
        let socket = fs::read_to_string(self.home().join("state/supervisor.lock"));
        socket.unwrap_or_default().is_empty()
    }
}

pub(crate) fn said(output: &Output) -> Said {
    Said {
        code: output.status.code().expect("it exits by itself"),
        out: String::from_utf8(output.stdout.clone()).unwrap(),
        err: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

pub(crate) fn write_program(path: &Path, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A command that runs; killed when the test ends without it.
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(crate) fn said(mut self) -> Said {
        let child = self.0.take().expect("it is taken once");
        said(&child.wait_with_output().unwrap())
    }

    pub(crate) fn interrupt(&self) {
        let pid = self.0.as_ref().expect("it runs").id();
        let process = ProcessId::of(pid).unwrap().expect("it lives");
        assert!(process.signal(Signal::SIGINT).unwrap());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// A supervisor that says what the test wants it to.
pub(crate) struct Supervisor {
    listener: UnixListener,
    _lock: FileLock,
}

impl Supervisor {
    pub(crate) fn start(rig: &Rig) -> Self {
        let state = rig.home().join("state");
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(&state).unwrap();
        let socket = rig.directory.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let lock = FileLock::try_acquire(&state.join("supervisor.lock"));
        let mut lock = lock.unwrap().expect("nobody else holds it");
        lock.write_contents(socket.to_str().unwrap()).unwrap();
        Self {
            listener,
            _lock: lock,
        }
    }

    /// The next connection, introduced.
    pub(crate) fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().unwrap();
        let mut peer = Peer {
            lines: BufReader::new(stream.try_clone().unwrap()),
            stream,
        };
        let call = peer.call("initialize");
        let build = agent_team_protocol::initialize::BUILD;
        peer.answer(&call, &json!({ "protocol": 1, "build": build, "pid": 1 }));
        peer
    }
}

pub(crate) struct Peer {
    lines: BufReader<UnixStream>,
    stream: UnixStream,
}

impl Peer {
    /// The next request, which must be for this method.
    pub(crate) fn call(&mut self, method: &str) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        let call = json(&line);
        assert_eq!(call["method"], method);
        call
    }

    pub(crate) fn answer(&mut self, call: &Value, result: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }));
    }

    pub(crate) fn refuse(&mut self, call: &Value, code: &str, message: &str) {
        let data = json!({ "code": code, "message": message, "hint": "do that" });
        let error = json!({ "code": -32000, "message": message, "data": data });
        self.send(&json!({ "jsonrpc": "2.0", "id": call["id"], "error": error }));
    }

    pub(crate) fn notify(&mut self, method: &str, params: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn send(&mut self, frame: &Value) {
        writeln!(self.stream, "{frame}").unwrap();
    }
}
