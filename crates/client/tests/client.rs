//! Tests of calls over a real socket: responses, refusals, lost connections.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use agent_team_client::{Arrival, CallError, Client, ConnectError, Disconnected, Incoming};
use agent_team_protocol::codec::FRAME_MAX;
use agent_team_protocol::initialize::{BUILD, Initialize, Initialized};
use agent_team_protocol::method::{Nothing, SupervisorRestart, TeamList};
use agent_team_protocol::notification::PaneLost;
use agent_team_protocol::rpc::{self, Call, Frame, FrameKind};
use agent_team_protocol::{ErrorCode, Refusal};
use agent_team_system::connection::{FrameReader, FrameWriter};
use agent_team_system::directories::Directories;
use agent_team_system::lock::FileLock;
use agent_team_system::socket::{Listener, Stream};
use serde_json::value::RawValue;

/// The supervisor's end of a connection, on which the test reads and writes the frames.
struct Supervisor {
    reader: FrameReader,
    writer: FrameWriter,
}

impl Supervisor {
    fn over(stream: Stream) -> Supervisor {
        let (reader, writer) = stream.into_halves();
        Supervisor {
            reader: FrameReader::new(reader, FRAME_MAX),
            writer: FrameWriter::new(writer),
        }
    }

    /// The next request's id and method.
    async fn request(&mut self) -> (Box<RawValue>, String) {
        let frame = self
            .reader
            .next()
            .await
            .unwrap()
            .expect("the client is connected");
        match Frame::parse(&frame).and_then(Frame::kind).unwrap() {
            FrameKind::Request { id, method, .. } => (id.to_owned(), method),
            other @ (FrameKind::Notification { .. } | FrameKind::Response { .. }) => {
                panic!("{other:?}")
            }
        }
    }

    async fn send(&mut self, lines: &str) {
        self.writer.queue(lines);
        self.writer.flush().await.unwrap();
    }

    /// Answers `initialize`.
    async fn welcome(&mut self) {
        let (id, method) = self.request().await;
        assert_eq!(method, "initialize");
        let answer = Initialized {
            protocol: 1,
            build: BUILD.into(),
            pid: 42,
            member: None,
        };
        self.send(&rpc::result(&id, &answer)).await;
    }
}

async fn connected() -> (Client, Incoming, Supervisor) {
    let (client_end, supervisor_end) = Stream::pair().unwrap();
    let mut supervisor = Supervisor::over(supervisor_end);
    let initialize = Initialize::client("test");
    let (client, ()) = tokio::join!(Client::over(client_end, &initialize), supervisor.welcome());
    let (client, incoming) = client.unwrap();
    assert_eq!(client.initialized().pid, 42);
    (client, incoming, supervisor)
}

fn nothing() -> Call<Nothing> {
    Call {
        team: None,
        key: None,
        args: Nothing {},
    }
}

#[tokio::test]
async fn responses_match_calls_in_any_order() {
    let (client, _incoming, mut supervisor) = connected().await;
    let (list, restart) = (nothing(), nothing());
    let (list, restart, ()) = tokio::join!(
        client.call::<TeamList>(&list),
        client.call::<SupervisorRestart>(&restart),
        async {
            let (first, _) = supervisor.request().await;
            let (second, _) = supervisor.request().await;
            let refusal = Refusal::new(ErrorCode::TeamRunning, "not now").hint("later");
            supervisor.send(&rpc::error(&second, refusal)).await;
            supervisor.send("{\"id\":999,\"result\":{}}\n").await;
            supervisor
                .send(&rpc::result(&first, &serde_json::json!({"teams": []})))
                .await;
        }
    );
    assert!(list.unwrap().teams.is_empty());
    match restart {
        Err(CallError::Refused(refusal)) => {
            assert_eq!(refusal.code, ErrorCode::TeamRunning);
            assert_eq!(refusal.hint.as_deref(), Some("later"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn disconnect_fails_all_waiting_calls() {
    let (client, mut incoming, mut supervisor) = connected().await;
    let call = nothing();
    let (first, second, ()) = tokio::join!(
        client.call::<TeamList>(&call),
        client.call::<TeamList>(&call),
        async move {
            supervisor.request().await;
            supervisor.request().await;
        }
    );
    for result in [first, second, client.call::<TeamList>(&call).await] {
        assert!(matches!(result, Err(CallError::Disconnected)), "{result:?}");
    }
    assert!(incoming.next().await.is_none());
    assert_eq!(client.notify(&PaneLost {}).await, Err(Disconnected));
}

#[tokio::test]
async fn notifications_and_requests_arrive_in_order() {
    let (client, mut incoming, mut supervisor) = connected().await;
    supervisor
        .send("{\"method\":\"member/pane_lost\",\"params\":{}}\n")
        .await;
    supervisor
        .send("{\"id\":\"p1\",\"method\":\"member/ping\",\"params\":{\"launch\":\"x\"}}\n")
        .await;
    match incoming.next().await.unwrap() {
        Arrival::Notification { method, .. } => assert_eq!(method, "member/pane_lost"),
        other @ Arrival::Request { .. } => panic!("{other:?}"),
    }
    let Some(Arrival::Request { id, method, params }) = incoming.next().await else {
        panic!("expected a request");
    };
    assert_eq!(
        (method.as_str(), params.get()),
        ("member/ping", "{\"launch\":\"x\"}")
    );
    client.answer(&id, &Nothing {}).await.unwrap();
    let answer = supervisor.reader.next().await.unwrap().unwrap();
    assert!(
        answer.contains("\"id\":\"p1\"") && answer.contains("\"result\":{}"),
        "{answer}"
    );
}

#[tokio::test]
async fn dropping_client_and_incoming_closes_the_connection() {
    let (client, incoming, mut supervisor) = connected().await;
    drop(client);
    supervisor
        .send("{\"method\":\"member/pane_lost\",\"params\":{}}\n")
        .await;
    let mut incoming = incoming;
    assert!(
        incoming.next().await.is_some(),
        "the connection ends while a client still listens"
    );
    drop(incoming);
    assert_eq!(supervisor.reader.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_refused_handshake_returns_the_refusal() {
    let (client_end, supervisor_end) = Stream::pair().unwrap();
    let mut supervisor = Supervisor::over(supervisor_end);
    let initialize = Initialize::client("test");
    let (result, ()) = tokio::join!(Client::over(client_end, &initialize), async {
        let (id, _) = supervisor.request().await;
        let refusal = Refusal::new(ErrorCode::VersionSkew, "too old");
        supervisor.send(&rpc::error(&id, refusal)).await;
    });
    match result {
        Err(ConnectError::Refused(refusal)) => assert_eq!(refusal.code, ErrorCode::VersionSkew),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn connect_distinguishes_wrong_dead_and_absent_peers() {
    let initialize = Initialize::client("test");
    let (client_end, supervisor_end) = Stream::pair().unwrap();
    let mut impostor = Supervisor::over(supervisor_end);
    let (result, ()) = tokio::join!(
        Client::over(client_end, &initialize),
        impostor.send("HTTP/1.1 400 Bad Request\n")
    );
    assert!(
        matches!(result, Err(ConnectError::Protocol(_))),
        "{result:?}"
    );

    let (client_end, supervisor_end) = Stream::pair().unwrap();
    drop(supervisor_end);
    let result = Client::over(client_end, &initialize).await;
    assert!(matches!(result, Err(ConnectError::Ended)), "{result:?}");

    let directory = tempfile::tempdir().unwrap();
    let result = Client::connect(&directory.path().join("socket"), &initialize).await;
    assert!(
        matches!(result, Err(ConnectError::Unreachable { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn connect_or_start_uses_a_running_supervisor() {
    let home = tempfile::tempdir().unwrap();
    let directories = Directories {
        state: home.path().join("state"),
        run: home.path().join("run"),
        config: home.path().join("config"),
    };
    directories.prepare().unwrap();
    let initialize = Initialize::client("test");
    let mut lock = FileLock::try_acquire(&directories.supervisor_lock())
        .unwrap()
        .unwrap();
    let listener = Listener::bind_replacing_stale(&lock, &directories.socket()).unwrap();
    lock.write_contents(directories.socket().to_str().unwrap())
        .unwrap();
    let connecting = agent_team_client::connect_or_start(&directories, &initialize);
    let (client, ()) = tokio::join!(connecting, async {
        Supervisor::over(listener.accept().await.unwrap())
            .welcome()
            .await;
    });
    assert_eq!(client.unwrap().0.initialized().pid, 42);
}
