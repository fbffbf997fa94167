//! The socket: malformed frames, and peers that are too slow, too old, or impersonate a member.

use std::time::{Duration, Instant};

use agent_team_client::{CallError, Client, ConnectError};
use agent_team_protocol::ErrorCode;
use agent_team_protocol::codec::{DEPTH_MAX, FIRST_FRAME_MAX, FRAME_MAX};
use agent_team_protocol::initialize::{Initialize, Versions};
use agent_team_protocol::method::{
    AddTask, Down, EventSubscribe, ListTasks, MemberStop, MessageSend, Nothing, RequestAsk,
    RequestBegin, RequestDecide, RequestEnd, SendMessage, Stop, Subscribe, SupervisorStatus,
    TaskAdd, TaskList, TeamDown, TeamShow,
};
use agent_team_protocol::request::{
    AskRequest, DecideRequest, Decision, OneRequest, Permission, Scope,
};
use agent_team_protocol::rpc::{self, Call, TeamRef};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::MemberState;
use agent_team_protocol::{Recipient, Revision};
use agent_team_system::process::Signal;
use agent_team_tests::{Rig, User, stub, together, until, within};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::impersonation::launched;
use crate::teams::{assigned, headless};

/// This function is not a test, but the entry point of the stub workers of other tests. See [`stub`].
#[tokio::test]
async fn stub_for_another_test() {
    stub::relay().await;
}

/// A connection that sends arbitrary bytes.
struct Raw(UnixStream);

impl Raw {
    async fn connect(rig: &Rig) -> Self {
        Self(
            UnixStream::connect(rig.directories().socket())
                .await
                .unwrap(),
        )
    }

    async fn introduced(rig: &Rig) -> Self {
        let mut raw = Self::connect(rig).await;
        raw.send(rpc::initialize(0, &Initialize::client("raw")).as_bytes())
            .await;
        raw
    }

    async fn send(&mut self, bytes: &[u8]) {
        // The peer may close the connection during the write.
        let _closed = self.0.write_all(bytes).await;
    }

    /// Returns all frames until the connection is closed.
    async fn until_closed(mut self) -> Vec<Value> {
        let mut bytes = Vec::new();
        // A reset also ends the connection.
        let _end = within(
            "the connection to be closed",
            self.0.read_to_end(&mut bytes),
        )
        .await;
        let text = String::from_utf8(bytes).unwrap();
        // Drop a truncated last frame.
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// The code of the close reason: in the last notification, or in the reply to an unreadable frame.
fn reason(last: &Value) -> &Value {
    match last["method"].as_str() {
        Some("goodbye") => &last["params"]["error"]["code"],
        _ => &last["error"]["data"]["code"],
    }
}

async fn up() -> Rig {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    rig
}

#[tokio::test]
async fn a_bad_frame_closes_only_its_connection_with_an_error() {
    let rig = up().await;
    let bystander = rig.user().await;
    let deep = format!(
        "{}{}\n",
        "[".repeat(DEPTH_MAX + 1),
        "]".repeat(DEPTH_MAX + 1)
    );
    let long = vec![b' '; FRAME_MAX + 2];
    let frames: [&[u8]; 5] = [
        b"this is not JSON\n",
        b"\xff\xfe\n",
        b"{\"jsonrpc\":\"2.0\"}\n",
        deep.as_bytes(),
        &long,
    ];
    for frame in frames {
        let mut raw = Raw::introduced(&rig).await;
        raw.send(frame).await;
        let frames = raw.until_closed().await;
        let last = frames.last().expect("the supervisor sends the reason");
        assert!(reason(last).is_string(), "{last}");
    }
    bystander.ask::<TeamShow>(Nothing {}).await;
}

#[tokio::test]
async fn an_invalid_call_is_refused_and_its_connection_continues() {
    let rig = up().await;
    let mut raw = Raw::introduced(&rig).await;
    raw.send(
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"team/dance\",\"params\":{\"args\":{}}}\n\
          {\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"task/show\",\"params\":{\"args\":{\"task\":7}}}\n\
          {\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"team/list\",\"params\":{\"args\":{}}}\n",
    )
    .await;
    raw.0.shutdown().await.unwrap();
    let frames = raw.until_closed().await;
    let answer = |id: u64| {
        frames
            .iter()
            .find(|frame| frame["id"] == id)
            .unwrap()
            .clone()
    };
    assert_eq!(answer(1)["error"]["code"], -32601);
    assert_eq!(answer(2)["error"]["code"], -32602);
    assert!(answer(3)["result"]["teams"].is_array());
}

/// A script writes its call to the socket, closes its sending side, and then reads. The supervisor is stopped
/// meanwhile, so that it reads the call and the EOF together. It answers the call only after the member's process has
/// exited.
#[tokio::test]
async fn calls_before_a_half_close_are_answered() {
    let rig = up().await;
    let supervisor = rig.supervisor().await;
    supervisor.signal(Signal::SIGSTOP).unwrap();
    until("the stop", async || {
        supervisor.is_stopped().unwrap().then_some(())
    })
    .await;
    let mut raw = Raw::introduced(&rig).await;
    let call = Call {
        team: Some(TeamRef::Directory(rig.project())),
        key: None,
        args: Down { force: false },
    };
    raw.send(rpc::request::<TeamDown>(1, &call).as_bytes())
        .await;
    raw.0.shutdown().await.unwrap();
    supervisor.signal(Signal::SIGCONT).unwrap();
    let answers = raw.until_closed().await;
    let last = answers.last().expect("the supervisor answers");
    assert!(last["id"] == 1 && last["result"].is_object(), "{last}");
}

/// The end of a worker's connection is the first sign of its exit, even while a call of the member is open.
#[tokio::test]
async fn a_lead_that_exits_during_its_call_is_replaced_at_once() {
    let mut rig = assigned(&[], "[lead]\n");
    let stubs = rig.stub_workers("wire::stub_for_another_test");
    let lead = launched(&rig, &stubs, ["up", "--detach"]).await;
    let _ada = launched(&rig, &stubs, ["spawn", "worker", "--name=ada"]).await;
    // A stub ignores the request to stop, so this call is answered after the grace period of 10 s.
    let client = lead.client.clone();
    let call = Call {
        team: None,
        key: Some("1".to_owned()),
        args: Stop {
            member: "ada".parse().unwrap(),
            force: false,
        },
    };
    let stop = tokio::spawn(async move { client.call::<MemberStop>(&call).await });
    rig.until_member_is("ada", MemberState::Draining).await;
    stop.abort();
    let began = Instant::now();
    drop(lead);
    stubs.next().await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn an_unauthenticated_connection_has_4_kib_and_2_s() {
    let rig = up().await;
    let mut raw = Raw::connect(&rig).await;
    raw.send(&vec![b' '; FIRST_FRAME_MAX + 1]).await;
    let frames = raw.until_closed().await;
    assert_eq!(reason(&frames[0]), "frame_too_large");
    let began = Instant::now();
    let silent = Raw::connect(&rig).await;
    let frames = silent.until_closed().await;
    assert!(frames[0]["error"].is_object(), "{frames:?}");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1_900), "{took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let mut hasty = Raw::connect(&rig).await;
    hasty
        .send(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"team/list\",\"params\":{\"args\":{}}}\n")
        .await;
    let frames = hasty.until_closed().await;
    assert!(frames[0]["error"].is_object(), "{frames:?}");
}

/// Clients without a subscription also receive the reason: a client that lost a call must know whether to start the
/// next supervisor.
#[tokio::test]
async fn every_client_receives_the_reason_of_a_stop() {
    let rig = up().await;
    let raw = Raw::introduced(&rig).await;
    rig.ok(["supervisor", "stop"]).await;
    let frames = raw.until_closed().await;
    let last = frames.last().expect("the supervisor answers");
    assert_eq!(
        (&last["method"], &last["params"]["reason"]),
        (&"goodbye".into(), &"stopped".into())
    );
}

#[tokio::test]
async fn incompatible_versions_name_the_side_to_upgrade() {
    let rig = up().await;
    for (min, max, word) in [
        (90, 99, "supervisor restart"),
        (0, 0, "this program is older"),
    ] {
        let initialize = Initialize {
            protocol: Versions { min, max },
            ..Initialize::client("other")
        };
        let error = Client::connect(&rig.directories().socket(), &initialize).await;
        let Err(ConnectError::Refused(refusal)) = error else {
            panic!("{error:?}");
        };
        assert_eq!(refusal.code, ErrorCode::VersionSkew);
        assert!(refusal.hint.unwrap().contains(word));
    }
}

#[tokio::test]
async fn only_the_launched_process_authenticates_as_its_member() {
    let mut rig = assigned(&["ada"], "");
    let stubs = rig.stub_workers("wire::stub_for_another_test");
    let mut up = rig.start(["up"]);
    let stub = stubs.next().await;
    let hello = stub.hello();
    let refused = async |hello: &Initialize| {
        let error = Client::connect(&rig.directories().socket(), hello).await;
        let Err(ConnectError::Refused(refusal)) = error else {
            panic!("{error:?}");
        };
        refusal.code
    };
    let wrong = Initialize {
        token: Some("0".repeat(64)),
        ..hello.clone()
    };
    assert_eq!(refused(&wrong).await, ErrorCode::Unauthenticated);
    let none = Initialize {
        token: None,
        ..hello.clone()
    };
    assert_eq!(refused(&none).await, ErrorCode::Unauthenticated);
    // Another process, the test itself, sends the right token.
    assert_eq!(refused(&hello).await, ErrorCode::Unauthenticated);
    let ada = stub.send(&hello).await.unwrap();
    up.wait().await;
    let welcome = ada.client.initialized().member.clone().unwrap();
    assert_eq!(welcome.name.as_str(), "ada");
    assert_eq!(refused(&hello).await, ErrorCode::Unauthenticated);
}

#[tokio::test]
async fn a_member_speaks_only_for_itself_and_never_for_the_user() {
    let mut rig = assigned(&["ada"], "");
    let stubs = rig.stub_workers("wire::stub_for_another_test");
    let mut up = rig.start(["up"]);
    let stub = stubs.next().await;
    let hello = stub.hello();
    let ada = stub.send(&hello).await.unwrap();
    up.wait().await;
    let message = SendMessage {
        to: Recipient::User,
        text: "I am user, believe me".to_owned(),
        urgent: false,
        reply_to: None,
        summary: None,
        wants_reply: false,
        attach_outside: false,
    };
    ada.call::<MessageSend>(message, "1").await.unwrap();
    let messages = rig.json(["messages"]).await;
    assert_eq!(messages["messages"][0]["from"], "ada");
    let down = ada.call::<TeamDown>(Down { force: true }, "2").await;
    let Err(CallError::Refused(refusal)) = down else {
        panic!("{down:?}");
    };
    assert_eq!(refusal.code, ErrorCode::NotPermitted);
    assert!(ada.call::<SupervisorStatus>(Nothing {}, "3").await.is_err());
    assert_eq!(rig.json(["ps"]).await["members"][0]["state"], "idle");
}

/// The first reply may be lost with its supervisor, and the request may be closed before the call is repeated.
#[tokio::test]
async fn a_repeated_decision_gets_its_first_answer() {
    let mut rig = assigned(&["ada"], "");
    let stubs = rig.stub_workers("wire::stub_for_another_test");
    let mut up = rig.start(["up"]);
    let stub = stubs.next().await;
    let hello = stub.hello();
    let ada = stub.send(&hello).await.unwrap();
    up.wait().await;
    let user = rig.user().await;
    let ask = AskRequest {
        tool: "bash".to_owned(),
        arguments: RawValue::from_string(r#"{"command":"echo ran >> ran"}"#.to_owned()).unwrap(),
        directory: rig.project(),
        confined: false,
        containment: Default::default(),
        paths: Vec::new(),
        hook: None,
    };
    let asked = ada.call::<RequestAsk>(ask, "1").await.unwrap();
    let Permission::Asked { request } = asked else {
        panic!("{asked:?}");
    };
    let (scope, rules) = (Scope::Once, Vec::new());
    let allow = DecideRequest {
        request,
        digest: None,
        decision: Decision::Allow { scope, rules },
        via: None,
    };
    let key = Some("decision");
    user.call::<RequestDecide>(allow.clone(), key)
        .await
        .unwrap();
    let one = OneRequest { request };
    ada.call::<RequestBegin>(one, "2").await.unwrap();
    ada.call::<RequestEnd>(one, "3").await.unwrap();
    user.call::<RequestDecide>(allow, key).await.unwrap();
}

/// A task with its number as key and title, and a description of this many bytes.
fn large(number: u64, bytes: usize) -> TaskSpec {
    TaskSpec {
        key: number.to_string(),
        title: number.to_string(),
        description: "x".repeat(bytes),
        ..TaskSpec::default()
    }
}

/// Adds tasks with descriptions of this many bytes.
async fn add_tasks(user: &User, count: u64, bytes: usize) {
    let add = |number: u64| AddTask {
        spec: large(number, bytes),
    };
    let calls = (1..=count).map(|number| user.call::<TaskAdd>(add(number), None));
    for outcome in together(calls).await {
        outcome.unwrap();
    }
}

#[tokio::test]
async fn a_slow_client_is_disconnected_and_resumes_without_a_gap() {
    const TASKS: u64 = 200;
    let rig = assigned(&["ada"], "");
    rig.ok(["up"]).await;
    let mut slow = Raw::introduced(&rig).await;
    let call = Call {
        team: Some(TeamRef::Directory(rig.project())),
        key: None,
        args: Subscribe {
            after: Revision(0),
            transient: false,
        },
    };
    slow.send(rpc::request::<EventSubscribe>(1, &call).as_bytes())
        .await;
    let user = rig.user().await;
    add_tasks(&user, TASKS, 60_000).await;
    let status = user.ask::<SupervisorStatus>(Nothing {}).await;
    assert!(
        status.resident_bytes < 100 << 20,
        "{} bytes for a client that does not read",
        status.resident_bytes
    );
    // The client reads its remaining frames only now. The notice of the disconnection may be missing.
    let frames = slow.until_closed().await;
    let seen = frames
        .iter()
        .filter(|frame| frame["method"] == "event")
        .filter_map(|frame| frame["params"]["revision"].as_u64())
        .max()
        .unwrap();
    assert!(
        seen < status.teams[0].revision.0,
        "the client was disconnected"
    );
    let mut events = rig.user().await.events(seen).await.unwrap();
    // `until` panics at a gap.
    events
        .until("task_added", &[("task", &format!("T-{TASKS}"))])
        .await;
}

#[tokio::test]
async fn a_large_board_is_listed_completely() {
    const TASKS: u64 = 100;
    let rig = assigned(&["ada"], "");
    rig.ok(["up"]).await;
    let user = rig.user().await;
    add_tasks(&user, TASKS, 20_000).await;
    let page = user.ask::<TaskList>(ListTasks { after: 0 }).await;
    assert!(page.more, "one frame does not hold all tasks");
    let list = rig.json(["task", "list"]).await;
    assert_eq!(list["tasks"].as_array().unwrap().len() as u64, TASKS);
}

#[tokio::test]
async fn events_replay_from_any_revision_without_a_gap() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let mut follow = rig.start(["events", "-f", "--after", "2"]);
    let mut live = Vec::new();
    let mut last = 2;
    for _ in 0..3 {
        rig.ok(["task", "add", "x"]).await;
    }
    loop {
        let line = follow.line().await;
        last += 1;
        assert_eq!(
            line.split_whitespace().next(),
            Some(last.to_string().as_str())
        );
        let is_last = line.contains("you added T-3: x");
        live.push(line);
        if is_last {
            break;
        }
    }
    // A new supervisor has no event in memory: it reads all of them from the journal.
    rig.ok(["supervisor", "restart"]).await;
    let past = rig.ok(["events"]).await.stdout;
    let past: Vec<&str> = past.lines().collect();
    assert_eq!(past[2..last], live);
}
