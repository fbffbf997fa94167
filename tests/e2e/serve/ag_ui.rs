//! `/ag-ui`: a front end of the AG-UI protocol runs a real team. One test uses the published client and its schemas.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use agent_team_protocol::view::MemberState;
use agent_team_tests::Rig;
use agent_team_tests::fake_model_server::{FakeModelServer, by_model};
use agent_team_tests::{until, within};
use serde_json::{Value, json};
use tokio::process::Command;

use super::client::{Events, Service};
use crate::agents::{greeting, rig_with_requests};

/// A body with this message of the user.
fn input(run: &str, text: &str) -> Value {
    let message = json!({"id": format!("m-{run}"), "role": "user", "content": text});
    json!({"threadId": "t", "runId": run, "messages": [message], "tools": [], "context": []})
}

/// A body that answers an interrupt.
fn resume(run: &str, interrupt: &Value, payload: Value) -> Value {
    let mut body = input(run, "Greet the world");
    body["resume"] = json!([{"interruptId": interrupt, "status": "resolved", "payload": payload}]);
    body
}

async fn open(service: &Service, body: &Value, headers: &str) -> Events {
    let text = body.to_string();
    let length = text.len();
    let fields = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n{headers}");
    let mut events = service.stream("POST", "/ag-ui", &fields, &text).await;
    assert_eq!(events.status().await, 200);
    events
}

/// All events of a run.
async fn run(service: &Service, body: &Value) -> Vec<Value> {
    let mut stream = open(service, body, "").await;
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.extend(event.data);
    }
    check(&events);
    events
}

/// The fields of each event besides `type` and `subagentRunId`. AG-UI 1.0 permits no others.
fn fields(kind: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        "RUN_STARTED" => (&["threadId", "runId", "protocolVersion"], &[]),
        "RUN_FINISHED" => (&["threadId", "runId", "outcome"], &["result"]),
        "RUN_ERROR" => (&["message"], &["code"]),
        "TEXT_MESSAGE_START" => (&["messageId", "role"], &[]),
        "TEXT_MESSAGE_CONTENT" => (&["messageId", "delta"], &[]),
        "TEXT_MESSAGE_END" => (&["messageId"], &[]),
        "TOOL_CALL_START" => (&["toolCallId", "toolCallName"], &["parentMessageId"]),
        "TOOL_CALL_ARGS" => (&["toolCallId", "delta"], &[]),
        "TOOL_CALL_END" => (&["toolCallId"], &[]),
        "TOOL_CALL_RESULT" => (&["messageId", "toolCallId", "content", "role"], &[]),
        "STATE_SNAPSHOT" => (&["snapshot"], &[]),
        "STATE_DELTA" => (&["delta"], &[]),
        "CUSTOM" => (&["name", "value"], &[]),
        "SUBAGENT_STARTED" => (&["name"], &["description"]),
        "SUBAGENT_FINISHED" => (&["outcome"], &[]),
        "STEP_STARTED" | "STEP_FINISHED" => (&["stepName"], &["metadata"]),
        other => panic!("unexpected event {other}"),
    }
}

/// Asserts the fields of the events, and the order that AG-UI requires.
fn check(events: &[Value]) {
    let mut open = BTreeSet::new();
    let mut ended = BTreeSet::new();
    for (index, event) in events.iter().enumerate() {
        let kind = event["type"].as_str().expect("a type");
        let (required, optional) = fields(kind);
        for (name, value) in event.as_object().expect("an object") {
            let name = name.as_str();
            let is_known = required.contains(&name) || optional.contains(&name);
            assert!(
                is_known || ["type", "timestamp", "subagentRunId"].contains(&name),
                "{event}"
            );
            assert!(!value.is_null() || name == "value", "{event}");
        }
        assert!(
            required.iter().all(|name| event.get(name).is_some()),
            "{event}"
        );
        assert_eq!(index == 0, kind == "RUN_STARTED", "{event}");
        let is_end = ["RUN_FINISHED", "RUN_ERROR"].contains(&kind);
        assert_eq!(index + 1 == events.len(), is_end, "{event}");
        let entity = |field: &str| format!("{field}:{}", event[field]);
        match kind {
            "TEXT_MESSAGE_START" => assert!(open.insert(entity("messageId")), "{event}"),
            "TOOL_CALL_START" => assert!(open.insert(entity("toolCallId")), "{event}"),
            "STEP_STARTED" => assert!(open.insert(entity("stepName")), "{event}"),
            "SUBAGENT_STARTED" => {
                let subagent = entity("subagentRunId");
                assert!(
                    !ended.contains(&subagent) && open.insert(subagent),
                    "{event}"
                );
            }
            "TEXT_MESSAGE_CONTENT" => assert!(open.contains(&entity("messageId")), "{event}"),
            "TOOL_CALL_ARGS" => assert!(open.contains(&entity("toolCallId")), "{event}"),
            "TEXT_MESSAGE_END" => assert!(open.remove(&entity("messageId")), "{event}"),
            "TOOL_CALL_END" => assert!(open.remove(&entity("toolCallId")), "{event}"),
            "STEP_FINISHED" => assert!(open.remove(&entity("stepName")), "{event}"),
            "SUBAGENT_FINISHED" => {
                let subagent = entity("subagentRunId");
                assert!(open.remove(&subagent), "{event}");
                ended.insert(subagent);
            }
            "RUN_FINISHED" => assert_eq!(open, BTreeSet::new(), "everything has ended"),
            _ => {}
        }
    }
    assert!(!events.is_empty());
}

fn of_type<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let found = events.iter().filter(|event| event["type"] == kind);
    found.collect()
}

/// A team that is up and whose member needs permission to write a file.
async fn team(server: &FakeModelServer) -> Rig {
    let rig = rig_with_requests(server);
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("lead", MemberState::Idle).await;
    rig
}

#[tokio::test]
async fn ag_ui_run_stops_at_a_request_and_continues_after_it() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = team(&server).await;
    let service = Service::start(&rig, &[]).await;
    let first = run(&service, &input("r1", "Greet the world")).await;
    assert_eq!(first[0]["protocolVersion"], "1.0");
    assert_eq!(first[0]["threadId"], "t");
    let members = &of_type(&first, "STATE_SNAPSHOT")[0]["snapshot"]["members"];
    assert_eq!(members["ada"]["role"], "worker");
    let started = of_type(&first, "SUBAGENT_STARTED");
    assert_eq!(started[0]["name"], "ada");
    let outcome = &first.last().expect("an event")["outcome"];
    assert_eq!(outcome["type"], "interrupt");
    let interrupt = &outcome["interrupts"][0];
    assert_eq!(interrupt["subagentRunId"], started[0]["subagentRunId"]);
    let text = interrupt["message"].as_str().expect("a text");
    assert!(
        text.contains("greeting.txt") && text.contains("hello"),
        "{text}"
    );
    assert_eq!(rig.read("greeting.txt"), None);

    // An answer without a decision, an unknown interrupt, and the answer to a question that is not open change nothing.
    for (interrupt, payload, status) in [
        (interrupt["id"].clone(), json!({}), 422),
        (interrupt["id"].clone(), json!({"approved": "yes"}), 422),
        (json!("P-99"), json!({"approved": true}), 404),
        (json!("x"), json!({"approved": true}), 404),
        (json!("M-99"), json!({"answer": "blue"}), 409),
    ] {
        let body = resume("r2", &interrupt, payload);
        service.post("/ag-ui", &body).await.expect_problem(status);
    }
    let request = rig.json(["requests", "list"]).await;
    assert_eq!(
        request["requests"].as_array().map(Vec::len),
        Some(1),
        "{request}"
    );

    let body = resume("r2", &interrupt["id"], json!({"approved": true}));
    let second = run(&service, &body).await;
    let end = second.last().expect("an event");
    assert_eq!(end["outcome"], json!({"type": "success"}), "{end}");
    assert_eq!(end["result"]["final_answer"], "The greeting is written.");
    let texts = of_type(&second, "TEXT_MESSAGE_CONTENT");
    assert!(
        texts
            .iter()
            .any(|text| text["delta"] == "The greeting is written."),
        "{texts:?}"
    );
    assert_eq!(rig.read("greeting.txt").as_deref(), Some("hello\n"));
}

#[tokio::test]
async fn ag_ui_run_continues_without_its_client() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = team(&server).await;
    let service = Service::start(&rig, &[]).await;
    let mut body = input("r1", "Greet the world");
    body["forwardedProps"] = json!({"interrupts": false});
    let mut stream = open(&service, &body, "").await;
    let mut seen = None;
    loop {
        let event = stream.next().await.expect("an event");
        seen = event.id.or(seen);
        if event
            .data
            .is_some_and(|data| data["value"]["state"] == "pending")
        {
            break;
        }
    }
    drop(stream);
    rig.ok(["requests", "allow", "P-1"]).await;
    until("the end of the goal", async || {
        let goal = rig.json(["goal", "show"]).await;
        (goal["state"] == "finished").then_some(())
    })
    .await;
    // The same request gives no second goal, also after the end of the run.
    let last = format!("Last-Event-ID: {}\r\n", seen.expect("a revision"));
    for headers in ["", &last] {
        let mut again = open(&service, &body, headers).await;
        let mut events = Vec::new();
        while let Some(event) = again.next().await {
            events.extend(event.data);
        }
        check(&events);
        let end = events.last().expect("an event");
        assert_eq!(end["result"]["final_answer"], "The greeting is written.");
    }
    assert_eq!(rig.json(["goal", "show"]).await["run"], "R-1");
    // Without a message, and without a run under way, the stream contains the state of the team.
    let idle = json!({"threadId": "t", "runId": "r9", "messages": []});
    let idle = run(&service, &idle).await;
    assert_eq!(idle.len(), 3, "{idle:?}");
}

#[tokio::test]
async fn a_cancelled_goal_is_a_cancelled_ag_ui_run() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = team(&server).await;
    let service = Service::start(&rig, &[]).await;
    let mut body = input("r1", "Greet the world");
    body["forwardedProps"] = json!({"interrupts": false});
    let mut stream = open(&service, &body, "").await;
    let mut events = vec![
        stream
            .next()
            .await
            .and_then(|event| event.data)
            .expect("an event"),
    ];
    rig.ok(["cancel"]).await;
    while let Some(event) = stream.next().await {
        events.extend(event.data);
    }
    check(&events);
    assert_eq!(
        events.last().expect("an event")["outcome"]["type"],
        "cancelled"
    );
}

#[tokio::test]
async fn malformed_ag_ui_input_changes_nothing() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = team(&server).await;
    let service = Service::start(&rig, &[]).await;
    let before = rig.json(["ps"]).await["revision"].clone();
    let long = "x".repeat(300);
    let mut media = input("r1", "");
    media["messages"][0]["content"] = json!([{"type": "image", "source": {}}]);
    for (body, status) in [
        ("".to_owned(), 422),
        ("{".to_owned(), 400),
        ("[]".to_owned(), 422),
        (
            r#"{"threadId": "t", "runId": "r1", "runId": "r2", "messages": []}"#.to_owned(),
            400,
        ),
        (json!({"threadId": "t", "runId": "r"}).to_string(), 422),
        (input("", "Hi").to_string(), 422),
        (input(&long, "Hi").to_string(), 422),
        (input("r1", "  ").to_string(), 422),
        (media.to_string(), 422),
        (input("r1", &"x".repeat(70_000)).to_string(), 422),
        (resume("r1", &json!("P-1"), json!(null)).to_string(), 422),
    ] {
        let request = service.request("POST", "/ag-ui", &body);
        service.send(&request).await.expect_problem(status);
    }
    for target in ["/ag-ui?team=unknown", "/ag-ui?x=1"] {
        let status = if target.ends_with('1') { 400 } else { 404 };
        service
            .post(target, &input("r1", "Hi"))
            .await
            .expect_problem(status);
    }
    service.get("/ag-ui").await.expect_problem(405);
    let form = service.request("POST", "/ag-ui", &input("r1", "Hi").to_string());
    let form = form.replace("application/json", "text/plain");
    service.send(&form).await.expect_problem(415);
    let foreign = service.request("POST", "/ag-ui", &input("r1", "Hi").to_string());
    let foreign = foreign.replacen("\r\n", "\r\nOrigin: http://evil.example\r\n", 1);
    service.send(&foreign).await.expect_problem(403);
    let read_only = Service::start(&rig, &["--read-only"]).await;
    for body in [
        input("r1", "Hi"),
        resume("r1", &json!("P-1"), json!({"approved": true})),
    ] {
        read_only.post("/ag-ui", &body).await.expect_problem(403);
    }
    assert_eq!(rig.json(["ps"]).await["revision"], before);
    assert_eq!(server.requests().len(), 0, "no model received a goal");
}

/// The directory with the published packages; `None` with a printed reason.
async fn packages() -> Option<std::path::PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ag-ui");
    let node = Command::new("node").arg("--version").output().await;
    if !node.is_ok_and(|output| output.status.success()) {
        agent_team_tests::skipped("node is not installed");
        return None;
    }
    if !root.join("node_modules/@ag-ui/client").exists() {
        agent_team_tests::skipped(
            "@ag-ui/client is not installed: run cargo xtask test install-browser",
        );
        return None;
    }
    Some(root)
}

#[tokio::test]
async fn the_published_ag_ui_client_runs_a_goal() {
    let Some(packages) = packages().await else {
        return;
    };
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = team(&server).await;
    let service = Service::start(&rig, &[]).await;
    let script = include_str!("../../fixtures/ag-ui/client.mjs");
    let url = format!("http://{}/ag-ui", service.address);
    let client = Command::new("node")
        .args(["--input-type=module", "--eval", script, "--"])
        .args([&url, &service.token, "Greet the world"])
        .current_dir(packages)
        .stdin(Stdio::null())
        .output();
    let output = within("the client", client).await.expect("node runs");
    assert!(output.status.success(), "{output:?}");
    let seen: Value = serde_json::from_slice(&output.stdout).expect("a document");
    assert_eq!(seen["invalid"], json!([]), "the schemas of AG-UI 1.0");
    assert_eq!(seen["outcome"], json!({"type": "success"}), "{seen}");
    assert_eq!(seen["asked"].as_array().map(Vec::len), Some(1), "{seen}");
    assert_eq!(
        seen["state"]["tasks"]["T-1"]["state"], "completed",
        "{seen}"
    );
    let messages = seen["messages"].as_array().expect("messages");
    let answer = |message: &Value| message["content"] == "The greeting is written.";
    assert!(messages.iter().any(answer), "{messages:?}");
    assert_eq!(rig.read("greeting.txt").as_deref(), Some("hello\n"));
}
