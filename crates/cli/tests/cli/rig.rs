//! The test rig: private directories, the binary that runs in them, and a fake supervisor.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use agent_team_system::lock::FileLock;
use agent_team_system::process::{ProcessId, Signal};
use agent_team_system::spawn::ProgramSpec;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) struct Rig {
    pub(crate) directory: TempDir,
}

/// The output and exit code of a command.
pub(crate) struct CommandOutput {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
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

    /// A program in the project, with these variables alone.
    pub(crate) fn program(
        &self,
        program: &Path,
        arguments: &[&str],
        variables: impl IntoIterator<Item = (&'static str, OsString)>,
    ) -> ProgramSpec {
        let variables = variables.into_iter();
        ProgramSpec {
            program: program.to_owned(),
            args: arguments.iter().map(Into::into).collect(),
            env: variables
                .map(|(name, value)| (name.into(), value))
                .collect(),
            cwd: self.project(),
        }
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
            // Verbs depend on tmux, terminal, key and proxy variables, so the environment of the tests must not leak
            // in.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path())
            .env("AGENT_TEAM_HOME", self.home())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> CommandOutput {
        command_output(&self.command(arguments).output().unwrap())
    }

    /// Starts a command without waiting for it.
    pub(crate) fn start(&self, arguments: &[&str]) -> RunningCommand {
        Self::start_command(self.command(arguments))
    }

    pub(crate) fn start_command(mut command: Command) -> RunningCommand {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        RunningCommand(Some(command.spawn().unwrap()))
    }

    /// Whether no supervisor was started: its lock file does not exist or contains no socket path.
    pub(crate) fn nothing_was_started(&self) -> bool {
        let socket = fs::read_to_string(self.home().join("state/supervisor.lock"));
        socket.unwrap_or_default().is_empty()
    }
}

pub(crate) fn command_output(output: &Output) -> CommandOutput {
    CommandOutput {
        code: output.status.code().expect("no signal ended the command"),
        stdout: String::from_utf8(output.stdout.clone()).unwrap(),
        stderr: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

pub(crate) fn write_program(path: &Path, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A running command; killed on drop.
pub(crate) struct RunningCommand(Option<Child>);

impl RunningCommand {
    /// Waits for the exit.
    pub(crate) fn output(mut self) -> CommandOutput {
        let child = self.0.take().expect("the child is taken once");
        command_output(&child.wait_with_output().unwrap())
    }

    pub(crate) fn interrupt(&self) {
        let pid = self.0.as_ref().expect("the command runs").id();
        let process = ProcessId::of(pid).unwrap().expect("the process is alive");
        assert!(process.signal(Signal::SIGINT).unwrap());
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// A fake supervisor: holds the lock and accepts connections. The test sends its answers.
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
        let mut lock = lock.unwrap().expect("the lock is free");
        lock.write_contents(socket.to_str().unwrap()).unwrap();
        Self {
            listener,
            _lock: lock,
        }
    }

    /// Accepts the next connection and answers its `initialize`.
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

/// One connection of a command to the fake supervisor.
pub(crate) struct Peer {
    lines: BufReader<UnixStream>,
    stream: UnixStream,
}

impl Peer {
    /// Reads the next request, which must have this method.
    pub(crate) fn call(&mut self, method: &str) -> Value {
        let call = self.next_call();
        assert_eq!(call["method"], method);
        call
    }

    pub(crate) fn next_call(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        json(&line)
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
