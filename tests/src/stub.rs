//! A stub worker whose frames the test writes. Created by the rig instead of the real `agent-teammate`.
//!
//! Only the launched process may connect as the member, so the test process cannot connect itself. The launched process
//! takes the launch file, connects to the supervisor, and copies bytes between that connection and one to the test. The
//! process runs the program of the tests, with a filter that selects only the test that calls [`relay`].

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agent_team_client::{CallError, Client, ConnectError, Incoming};
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::method::Method;
use agent_team_protocol::rpc::Call;
use agent_team_system::announcement::Announced;
use agent_team_system::lock::FileLock;
use agent_team_system::socket::{Listener, Stream};
use tokio::net::UnixStream;

use crate::within;

/// The variable with the launch file; set only in a process that runs [`relay`].
const LAUNCH: &str = "AGENT_TEAM_TEST_LAUNCH";
/// The variable with the socket where the test listens; the launch file is copied beside it.
const SOCKET: &str = "AGENT_TEAM_TEST_SOCKET";

/// Writes the script that replaces the real worker. `test` is the test that calls [`relay`].
pub(crate) fn write_worker(path: &Path, socket: &Path, test: &str) {
    let own = std::env::current_exe().expect("the path of the test program is available");
    let script = format!(
        "#!/bin/sh\n{LAUNCH}=\"$2\" {SOCKET}='{}' exec '{}' --exact {test}\n",
        socket.display(),
        own.display()
    );
    write_script(path, &script);
}

pub(crate) fn write_script(path: &Path, script: &str) {
    fs::write(path, script).expect("the directory can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the test owns the file");
}

/// In a process that the script started, copies bytes between the supervisor and the test until the connections end.
/// In other processes, returns at once.
pub async fn relay() {
    let (Some(launch), Some(socket)) = (std::env::var_os(LAUNCH), std::env::var_os(SOCKET)) else {
        return;
    };
    let text = fs::read(&launch).expect("the launch file exists");
    fs::remove_file(&launch).expect("no other process took the launch file");
    let file: LaunchFile = serde_json::from_slice(&text).expect("a launch file");
    let supervisor = Announced::read(&file.supervisor_lock)
        .ok()
        .flatten()
        .expect("a supervisor");
    fs::write(Path::new(&socket).with_extension("json"), &text).expect("the file can be written");
    let mut supervisor = UnixStream::connect(supervisor.socket)
        .await
        .expect("a supervisor");
    let mut test = UnixStream::connect(socket).await.expect("a test");
    let _ended = tokio::io::copy_bidirectional(&mut supervisor, &mut test).await;
}

/// Accepts stub workers.
#[derive(Debug)]
pub struct Stubs {
    listener: Listener,
    socket: std::path::PathBuf,
    _lock: FileLock,
}

impl Stubs {
    pub(crate) fn listen(socket: &Path) -> Self {
        let lock = FileLock::try_acquire(&socket.with_extension("lock"))
            .expect("the lock file can be opened")
            .expect("the socket is unused");
        Self {
            listener: Listener::bind_replacing_stale(&lock, socket)
                .expect("the socket can be bound"),
            socket: socket.to_owned(),
            _lock: lock,
        }
    }

    /// Waits for the next launched worker. Launch only one at a time: all workers copy their launch file to one path.
    pub async fn next(&self) -> Stub {
        let stream = within("a stub worker", self.listener.accept())
            .await
            .expect("a connection");
        let text = fs::read(self.socket.with_extension("json")).expect("the worker wrote the file");
        Stub {
            stream,
            launch: serde_json::from_slice(&text).expect("a launch file"),
        }
    }
}

/// A launched worker that has not yet sent its handshake.
#[expect(
    missing_debug_implementations,
    reason = "the launch file of a stub contains secrets"
)]
pub struct Stub {
    stream: Stream,
    pub launch: LaunchFile,
}

impl Stub {
    /// The handshake of a worker of this launch.
    pub fn hello(&self) -> Initialize {
        let LaunchFile {
            team,
            launch,
            token,
            ..
        } = &self.launch;
        Initialize::member(team.clone(), launch.clone(), token.clone())
    }

    /// Sends this handshake.
    ///
    /// # Errors
    /// When the supervisor refuses the handshake or closes the connection.
    pub async fn send(self, hello: &Initialize) -> Result<Member, ConnectError> {
        let (client, incoming) = Client::over(self.stream, hello).await?;
        Ok(Member { client, incoming })
    }
}

/// A member whose calls the test makes.
#[derive(Debug)]
pub struct Member {
    pub client: Client,
    pub incoming: Incoming,
}

impl Member {
    /// # Errors
    /// When the supervisor refuses the call, or the connection has closed.
    pub async fn call<M: Method>(&self, args: M::Args, key: &str) -> Result<M::Answer, CallError> {
        let call = Call {
            team: None,
            key: Some(key.to_owned()),
            args,
        };
        within(M::NAME, self.client.call::<M>(&call)).await
    }
}
