//! A worker whose every word is the test's. Made by the rig, in place of the real `agent-teammate`.
//!
//! Only the process that was launched may speak for a launch, so the test cannot: what is launched takes the launch
//! file, connects to the supervisor, and carries bytes between that connection and one to the test.
//! It is the test's own program, started again to run [`carry`] alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::method::Method;
use agent_team_protocol::rpc::Call;
use agent_team_system::client::{CallError, Client, ConnectError, Incoming};
use agent_team_system::daemon::Announced;
use agent_team_system::lock::FileLock;
use agent_team_system::socket::{Listener, Stream};
use tokio::net::UnixStream;

use crate::within;

/// Names the launch file to a test that is started to carry, and is not set otherwise.
const LAUNCH: &str = "AGENT_TEAM_TEST_LAUNCH";
/// Where the test listens, with the launch's file copied beside it.
const SOCKET: &str = "AGENT_TEAM_TEST_SOCKET";

/// What is put in place of the real worker: `test` is the test that calls [`carry`].
pub(crate) fn write_worker(path: &Path, socket: &Path, test: &str) {
    let own = std::env::current_exe().expect("a test knows its own path");
    let script = format!(
        "#!/bin/sh\n{LAUNCH}=\"$2\" {SOCKET}='{}' exec '{}' --exact {test}\n",
        socket.display(),
        own.display()
    );
    write_script(path, &script);
}

pub(crate) fn write_script(path: &Path, script: &str) {
    fs::write(path, script).expect("the directory can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

/// Carries until either side ends, if this process was started to. Otherwise nothing.
pub async fn carry() {
    let (Some(launch), Some(socket)) = (std::env::var_os(LAUNCH), std::env::var_os(SOCKET)) else {
        return;
    };
    let text = fs::read(&launch).expect("the launch file is there");
    fs::remove_file(&launch).expect("nobody else took it");
    let file: LaunchFile = serde_json::from_slice(&text).expect("a launch file");
    let supervisor = Announced::read(&file.supervisor_lock)
        .ok()
        .flatten()
        .expect("a supervisor");
    fs::write(Path::new(&socket).with_extension("json"), &text).expect("it can be written");
    let mut supervisor = UnixStream::connect(supervisor.socket)
        .await
        .expect("a supervisor");
    let mut test = UnixStream::connect(socket).await.expect("a test");
    let _ended = tokio::io::copy_bidirectional(&mut supervisor, &mut test).await;
}

/// Where stub workers are waited for.
#[derive(Debug)]
pub struct Stubs {
    listener: Listener,
    socket: std::path::PathBuf,
    _lock: FileLock,
}

impl Stubs {
    pub(crate) fn listen(socket: &Path) -> Self {
        let lock = FileLock::try_acquire(&socket.with_extension("lock"))
            .expect("it can be locked")
            .expect("nobody else has it");
        Self {
            listener: Listener::bind_replacing_stale(&lock, socket).expect("it can be bound"),
            socket: socket.to_owned(),
            _lock: lock,
        }
    }

    /// The next worker that is launched. Launch one at a time.
    pub async fn next(&self) -> Stub {
        let stream = within("a stub worker", self.listener.accept())
            .await
            .expect("a connection");
        let text = fs::read(self.socket.with_extension("json")).expect("it wrote that first");
        Stub {
            stream,
            launch: serde_json::from_slice(&text).expect("a launch file"),
        }
    }
}

/// A worker that was launched and has not said hello.
#[expect(
    missing_debug_implementations,
    reason = "its launch file holds secrets"
)]
pub struct Stub {
    stream: Stream,
    pub launch: LaunchFile,
}

impl Stub {
    /// What a worker of this launch says first.
    pub fn hello(&self) -> Initialize {
        let LaunchFile {
            team,
            launch,
            token,
            ..
        } = &self.launch;
        Initialize::member(team.clone(), launch.clone(), token.clone())
    }

    /// Says this as its first words.
    ///
    /// # Errors
    /// When the supervisor does not take it for the member.
    pub async fn say(self, hello: &Initialize) -> Result<Member, ConnectError> {
        let (client, incoming) = Client::over(self.stream, hello).await?;
        Ok(Member { client, incoming })
    }
}

/// A member whose calls are the test's.
#[derive(Debug)]
pub struct Member {
    pub client: Client,
    pub incoming: Incoming,
}

impl Member {
    /// # Errors
    /// As the supervisor refuses it.
    pub async fn call<M: Method>(&self, args: M::Args, key: &str) -> Result<M::Answer, CallError> {
        let call = Call {
            team: None,
            key: Some(key.to_owned()),
            args,
        };
        within(M::NAME, self.client.call::<M>(&call)).await
    }
}
