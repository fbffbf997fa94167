//! Tests of `run --events` and `events --json`: AG-UI events, one envelope per line.

use std::collections::BTreeSet;

use agent_team_protocol::view::TaskState;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use serde_json::{Value, json};

use crate::agents::{greeting, rig};
use crate::teams::{headless, task};

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

fn of_type<'a>(envelopes: &'a [Value], name: &str) -> Vec<&'a Value> {
    let events = envelopes.iter().map(|envelope| &envelope["event"]);
    events.filter(|event| event["type"] == name).collect()
}

/// Asserts that each text and each call has a start, then its content, and an end.
fn assert_well_formed(envelopes: &[Value]) {
    let mut open = BTreeSet::new();
    for envelope in envelopes {
        let event = &envelope["event"];
        let id = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().unwrap() {
            "TEXT_MESSAGE_START" => assert!(open.insert(id("messageId")), "{event}"),
            "TEXT_MESSAGE_CONTENT" => {
                assert!(open.contains(&id("messageId")), "{event}");
                assert_ne!(event["delta"], "");
            }
            "TEXT_MESSAGE_END" => assert!(open.remove(&id("messageId")), "{event}"),
            "TOOL_CALL_START" => assert!(open.insert(id("toolCallId")), "{event}"),
            "TOOL_CALL_ARGS" => assert!(open.contains(&id("toolCallId")), "{event}"),
            "TOOL_CALL_END" => assert!(open.remove(&id("toolCallId")), "{event}"),
            _ => {}
        }
    }
    assert!(open.is_empty(), "never ended: {open:?}");
}

#[tokio::test]
async fn events_of_a_run_span_start_to_result() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = rig(&server);
    let output = rig.run(["run", "--events", "Greet the world"]).await;
    let envelopes = lines(&output.expect(0).stdout);
    assert_well_formed(&envelopes);
    let first = &envelopes[0];
    assert_eq!(first["event"]["type"], "RUN_STARTED");
    assert_eq!(first["event"]["threadId"], first["team_id"]);
    assert_eq!(first["event"]["runId"], "R-1");
    assert_eq!(envelopes[1]["event"]["type"], "STATE_SNAPSHOT");
    assert_eq!(
        envelopes[1]["event"]["snapshot"]["members"]["ada"]["role"],
        "worker"
    );
    let last = &envelopes.last().unwrap()["event"];
    assert_eq!(last["type"], "RUN_FINISHED");
    assert_eq!(last["result"]["final_answer"], "The greeting is written.");
    assert_eq!(last["result"]["outcome"], "finished");
    assert_eq!(last["result"]["tasks"][0]["state"], "completed");

    let mut text = String::new();
    for event in of_type(&envelopes, "TEXT_MESSAGE_CONTENT") {
        text.push_str(event["delta"].as_str().unwrap());
    }
    assert!(text.contains("Ada will write it."), "{text}");
    let calls = of_type(&envelopes, "TOOL_CALL_START");
    let write = calls.iter().find(|call| call["toolCallName"] == "write");
    let id = &write.unwrap()["toolCallId"];
    let arguments: String = of_type(&envelopes, "TOOL_CALL_ARGS")
        .iter()
        .filter(|arguments| arguments["toolCallId"] == *id)
        .map(|arguments| arguments["delta"].as_str().unwrap())
        .collect();
    let arguments: Value = serde_json::from_str(&arguments).unwrap();
    assert_eq!(arguments["content"], "hello\n");
    let results = of_type(&envelopes, "TOOL_CALL_RESULT");
    assert!(results.iter().any(|result| result["toolCallId"] == *id));
    let named = envelopes
        .iter()
        .find(|envelope| envelope["event"]["toolCallId"] == *id);
    let agent = named.unwrap()["agent_id"].as_str().unwrap();
    assert_eq!(agent, format!("ada@{}", first["team_id"].as_str().unwrap()));
}

#[tokio::test]
async fn the_events_of_a_failed_run_end_with_an_error() {
    let server = FakeModelServer::start(|_: &_| Reply::error(401, "who are you?")).await;
    let rig = rig(&server);
    let output = rig.run(["run", "--events", "Greet the world"]).await;
    let envelopes = lines(&output.expect(1).stdout);
    let last = &envelopes.last().unwrap()["event"];
    assert_eq!(last["type"], "RUN_ERROR");
    let message = last["message"].as_str().unwrap();
    assert!(message.contains("who are you?"), "{message}");
}

#[tokio::test]
async fn the_stored_events_of_a_team_can_be_replayed() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = rig(&server);
    rig.ok(["up", "--detach", "Greet the world"]).await;
    server.until_asked("ada", 3).await;
    rig.until_task_is("T-1", TaskState::Completed).await;
    let envelopes = lines(&rig.ok(["events", "--json"]).await.stdout);
    assert_well_formed(&envelopes);
    assert_eq!(envelopes[0]["event"]["type"], "STATE_SNAPSHOT");
    assert_eq!(
        envelopes[0]["event"]["snapshot"],
        json!({"members": {}, "tasks": {}})
    );
    assert_eq!(of_type(&envelopes, "RUN_STARTED").len(), 1);
    let of_run = envelopes
        .iter()
        .find(|envelope| envelope["event"]["name"] == "message")
        .unwrap();
    assert_eq!(of_run["run_id"], "R-1");
    assert_eq!(of_run["event"]["value"]["text"], "Greet the world");
    let completed = envelopes.iter().find(|envelope| {
        envelope["event"]["delta"][0]
            == json!({"op": "add", "path": "/tasks/T-1/state", "value": "completed"})
    });
    let completed = completed.unwrap();
    assert_eq!(completed["role_name"], "worker");
    assert_eq!(
        completed["event"]["delta"][1]["value"],
        "greeting.txt says hello"
    );
    assert!(
        of_type(&envelopes, "TEXT_MESSAGE_CONTENT").is_empty(),
        "streamed text is not stored"
    );
    // A client that resumes receives the rest unchanged.
    let revision = completed["revision"].as_u64().unwrap();
    let after = (revision - 1).to_string();
    let rest = lines(&rig.ok(["events", "--json", "--after", &after]).await.stdout);
    assert_eq!(&rest[0], completed);
}

#[tokio::test]
async fn a_slow_reader_delays_no_client_and_misses_no_stored_event() {
    // The task prints output at the rate at which output is forwarded, until every buffer between the task and the
    // client is full.
    let print = "for i in $(seq 70); do seq 1 3000; sleep 0.05; done";
    let rig = headless(&["ada"], &task("Print", print, ""));
    rig.ok(["up", "--detach"]).await;
    let mut follow = rig.start(["events", "-f", "--json"]);
    rig.until_task_is("T-1", TaskState::Completed).await;
    for _ in 0..5 {
        rig.ok(["task", "add", "more"]).await;
    }
    let mut last = 0;
    loop {
        let envelope: Value = serde_json::from_str(&follow.line().await).unwrap();
        if let Some(revision) = envelope["revision"].as_u64() {
            assert!(revision >= last, "{envelope}");
            last = revision;
        }
        if envelope["event"]["delta"][0]["path"] == "/tasks/T-6" {
            break;
        }
    }
}
