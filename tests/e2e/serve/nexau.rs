//! `/team/*`: requests as clients of NexAU send them, which give goals to the teams of their sessions.

use std::collections::BTreeSet;

use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{Rig, until};
use serde_json::{Value, json};

use super::client::{Events, Service};
use crate::agents::{greeting, rig, rig_with_requests};

/// A body of this session with further fields.
fn body(user: &str, session: &str, fields: Value) -> Value {
    let mut body = json!({"user_id": user, "session_id": session});
    for (name, value) in fields.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

fn query(user: &str, session: &str) -> String {
    format!("user_id={user}&session_id={session}")
}

async fn open(service: &Service, method: &str, target: &str, body: &str, headers: &str) -> Events {
    let length = body.len();
    let fields = match method {
        "POST" => {
            format!("Content-Type: application/json\r\nContent-Length: {length}\r\n{headers}")
        }
        _ => headers.to_owned(),
    };
    let mut events = service.stream(method, target, &fields, body).await;
    assert_eq!(events.status().await, 200);
    events
}

/// A team without a member that claims tasks.
const ONLY_A_LEAD: &str = "\
name = \"demo\"
[panes]
placement = \"headless\"
[lead]
model = \"openai/lead\"
";

/// The types of events that NexAU's clients know and this service sends.
const EVENTS: [&str; 12] = [
    "RUN_STARTED",
    "RUN_FINISHED",
    "RUN_ERROR",
    "TEXT_MESSAGE_START",
    "TEXT_MESSAGE_CONTENT",
    "TEXT_MESSAGE_END",
    "TOOL_CALL_START",
    "TOOL_CALL_ARGS",
    "TOOL_CALL_END",
    "TOOL_CALL_RESULT",
    "USER_MESSAGE",
    "TEAM_MESSAGE",
];

fn keys(value: &Value) -> Vec<&str> {
    let fields = value.as_object().expect("an object");
    fields.keys().map(String::as_str).collect()
}

/// The frames until the last one, with their ids. Asserts that each is a frame of NexAU.
async fn frames(events: &mut Events, session: &str) -> Vec<(Option<u64>, Value)> {
    let mut frames = Vec::new();
    while let Some(event) = events.next().await {
        let frame = event.data.expect("a frame");
        assert_eq!(keys(&frame), ["envelope", "error", "session_id", "type"]);
        assert_eq!(frame["session_id"], session);
        if frame["type"] == "team_event" {
            let envelope = &frame["envelope"];
            let expected = ["agent_id", "event", "role_name", "run_id", "team_id"];
            assert_eq!(keys(envelope), expected);
            assert!(envelope["agent_id"].is_string(), "{frame}");
            let event = &envelope["event"];
            let kind = event["type"].as_str().expect("a type");
            assert!(EVENTS.contains(&kind), "{frame}");
            let is_snake = |name: &&str| !name.contains(|it: char| it.is_ascii_uppercase());
            assert!(keys(event).iter().all(is_snake), "{frame}");
            assert_eq!(frame["error"], Value::Null);
        }
        frames.push((event.id, frame));
    }
    let (last, others) = frames.split_last().expect("a frame");
    assert_ne!(
        last.1["type"], "team_event",
        "the last frame ends the stream"
    );
    assert_eq!(last.1["envelope"], Value::Null);
    assert!(
        others
            .iter()
            .all(|(_, frame)| frame["type"] == "team_event")
    );
    frames
}

fn of_type<'a>(frames: &'a [(Option<u64>, Value)], kind: &str) -> Vec<&'a Value> {
    let envelopes = frames.iter().map(|(_, frame)| &frame["envelope"]);
    envelopes
        .filter(|envelope| envelope["event"]["type"] == kind)
        .collect()
}

/// The name of the only team on the machine.
async fn only_team(rig: &Rig) -> String {
    let teams = rig.json(["team", "list"]).await;
    let teams = teams["teams"].as_array().expect("teams");
    assert_eq!(teams.len(), 1, "{teams:?}");
    teams[0]["name"].as_str().expect("a name").to_owned()
}

#[tokio::test]
async fn a_nexau_session_runs_goals_and_survives_restarts() {
    let [(lead, mut replies), ada] = greeting();
    replies.push(Reply::call("finish", json!({"answer": "Greeted again."})));
    let server = FakeModelServer::start(by_model([(lead, replies), ada])).await;
    let rig = rig(&server);
    let service = Service::start(&rig, &["--sessions"]).await;
    let own = query("u1", "s1");
    for path in ["teammates", "tasks"] {
        let none = service
            .get(&format!("/team/{path}?{own}"))
            .await
            .expect(200);
        assert_eq!(none.json(), json!([]));
    }
    let goal = body(
        "u1",
        "s1",
        json!({"message": "Greet the world", "variables": null}),
    );
    let mut stream = open(&service, "POST", "/team/stream", &goal.to_string(), "").await;
    let frames = frames(&mut stream, "s1").await;
    assert_eq!(frames.last().expect("a frame").1["type"], "complete");
    let started = of_type(&frames, "RUN_STARTED");
    assert_eq!(started[0]["agent_id"], "leader");
    assert_eq!(started[0]["event"]["root_run_id"], started[0]["run_id"]);
    let answer = of_type(&frames, "RUN_FINISHED");
    assert_eq!(
        answer[0]["event"]["result"]["final_answer"],
        "The greeting is written."
    );
    let agents: BTreeSet<_> = of_type(&frames, "TOOL_CALL_START")
        .iter()
        .map(|envelope| (&envelope["agent_id"], &envelope["role_name"]))
        .map(|(agent, role)| (agent.to_string(), role.to_string()))
        .collect();
    let expected = [("\"ada\"", "\"worker\""), ("\"leader\"", "\"leader\"")];
    assert_eq!(
        agents,
        expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into()
    );
    assert!(frames.iter().any(|(id, _)| id.is_some()), "frames have ids");
    // The run of each member ends before the last frame: otherwise, the client would show the member as active.
    let end_of_ada = &frames[frames.len() - 2].1["envelope"];
    assert_eq!(end_of_ada["agent_id"], "ada");
    assert_eq!(end_of_ada["event"]["type"], "RUN_FINISHED");
    assert!(end_of_ada["event"]["thread_id"].is_string());
    assert_eq!(rig.read("greeting.txt").as_deref(), Some("hello\n"));

    // The team belongs to the session: another user or another session cannot read it, and cannot reach it by a similar
    // name.
    for other in [query("u2", "s1"), query("u1", "s2"), query("u1s", "1")] {
        let tasks = service
            .get(&format!("/team/tasks?{other}"))
            .await
            .expect(200);
        assert_eq!(tasks.json(), json!([]));
    }
    let until_down = || async {
        let teams = rig.json(["team", "list"]).await;
        (teams["teams"][0]["state"] == "down").then_some(())
    };
    until("the team to go down after its run", until_down).await;
    let name = only_team(&rig).await;
    drop(service);

    // After the end of this supervisor, the next service has the same session.
    rig.ok(["supervisor", "stop"]).await;
    let service = Service::start(&rig, &["--sessions"]).await;
    let tasks = service
        .get(&format!("/team/tasks?{own}&status=completed"))
        .await;
    let tasks = tasks.expect(200).json();
    let task = json!({
        "task_id": "T-1", "title": "Write the greeting", "description": "Into greeting.txt", "status": "completed",
        "priority": 0, "dependencies": [], "assignee_agent_id": "ada", "result_summary": "greeting.txt says hello",
        "created_by": "leader", "is_blocked": false, "deliverable_path": null,
    });
    assert_eq!(tasks, json!([task]));
    let again = body("u1", "s1", json!({"message": "Again"}));
    let result = service.post("/team/query", &again).await.expect(200).json();
    assert_eq!(
        result,
        json!({"session_id": "s1", "result": "Greeted again."})
    );
    assert_eq!(only_team(&rig).await, name);

    // Read the whole history, then the history after the frames that the client has, then the history after a revision.
    let target = format!("/team/subscribe?{own}");
    let mut stream = open(&service, "GET", &target, "", "").await;
    let all = self::frames(&mut stream, "s1").await;
    assert_eq!(of_type(&all, "RUN_FINISHED").len(), 2, "{all:?}");
    let mut stream = open(&service, "GET", &format!("{target}&after=3"), "", "").await;
    assert_eq!(self::frames(&mut stream, "s1").await[..], all[3..]);
    let middle = all.iter().filter_map(|(id, _)| *id).nth(1).expect("an id");
    let position = all
        .iter()
        .position(|(id, _)| *id == Some(middle))
        .expect("it");
    let resume = format!("Last-Event-ID: {middle}\r\n");
    let mut stream = open(&service, "GET", &target, "", &resume).await;
    assert_eq!(
        self::frames(&mut stream, "s1").await[..],
        all[position + 1..]
    );
}

#[tokio::test]
async fn a_nexau_run_continues_without_its_client() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = rig_with_requests(&server);
    let service = Service::start(&rig, &["--sessions"]).await;
    let goal = body("u1", "s1", json!({"message": "Greet the world"}));
    let mut stream = open(&service, "POST", "/team/stream", &goal.to_string(), "").await;
    assert!(stream.next().await.is_some());
    drop(stream);
    let name = until("the request", async || {
        let teams = rig.json(["team", "list"]).await;
        let name = teams["teams"][0]["name"].as_str()?.to_owned();
        let requests = rig.json(["-t", &name, "requests", "list"]).await;
        (requests["requests"].as_array()?.len() == 1).then_some(name)
    })
    .await;
    let own = query("u1", "s1");
    let status = async || service.get(&format!("/team/status?{own}")).await.json();
    assert_eq!(status().await, json!({"running": true, "session_id": "s1"}));
    let mates = service.get(&format!("/team/teammates?{own}")).await.json();
    let ada = json!({"agent_id": "ada", "role_name": "worker", "status": "running"});
    assert_eq!(mates, json!([ada]));
    // Send a message while the run is under way.
    let text = body(
        "u1",
        "s1",
        json!({"content": "Be brief", "to_agent_id": "ada"}),
    );
    let sent = service.post("/team/user-message", &text).await.expect(200);
    assert_eq!(
        sent.json(),
        json!({"status": "enqueued", "to_agent_id": "ada"})
    );
    // The sender is always the user, even if the body names another sender.
    let forged = json!({"content": "Go on", "to_agent_id": "ada", "from_agent_id": "leader"});
    let sent = service
        .post("/team/message", &body("u1", "s1", forged))
        .await;
    assert_eq!(sent.expect(200).json()["status"], "sent");
    let messages = rig.json(["-t", &name, "messages"]).await;
    let messages = messages["messages"].as_array().expect("messages");
    let forged = messages.iter().find(|message| message["text"] == "Go on");
    assert_eq!(forged.expect("the message")["from"], "user");
    let stopped = service
        .post("/team/stop", &body("u1", "s1", json!({})))
        .await;
    assert_eq!(stopped.expect(200).json(), json!({"status": "stopped"}));
    assert_eq!(status().await["running"], false);
    let target = format!("/team/subscribe?{own}");
    let mut stream = open(&service, "GET", &target, "", "").await;
    let all = frames(&mut stream, "s1").await;
    let sent = of_type(&all, "USER_MESSAGE");
    let sent: Vec<_> = sent
        .iter()
        .map(|envelope| (&envelope["agent_id"], &envelope["event"]["content"]))
        .collect();
    assert!(
        sent.contains(&(&json!("leader"), &json!("Greet the world"))),
        "{sent:?}"
    );
    assert!(
        sent.contains(&(&json!("ada"), &json!("Be brief"))),
        "{sent:?}"
    );
    assert_eq!(of_type(&all, "RUN_ERROR")[0]["event"]["code"], "cancelled");
    assert_eq!(all.last().expect("a frame").1["type"], "complete");
    let again = service
        .post("/team/stop", &body("u1", "s1", json!({})))
        .await;
    assert_eq!(
        again.expect(200).json(),
        json!({"status": "no_active_team"})
    );
    assert_eq!(rig.read("greeting.txt"), None, "nothing unapproved ran");
}

#[tokio::test]
async fn nexau_tasks_are_created_claimed_and_completed() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let mut rig = Rig::with_team(ONLY_A_LEAD);
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    let service = Service::start(&rig, &["--sessions"]).await;
    let post = async |path: &str, fields: Value| {
        service
            .post(&format!("/team/{path}"), &body("u", "s", fields))
            .await
    };
    let first = post("tasks", json!({"title": "Plan", "priority": 2})).await;
    let first = first.expect(200).json();
    assert_eq!(
        (&first["task_id"], &first["priority"], &first["created_by"]),
        (&json!("T-1"), &json!(2), &json!("user"))
    );
    // Create another task with the same title, which depends on the first task.
    let second = post("tasks", json!({"title": "Plan", "dependencies": ["T-1"]})).await;
    let second = second.expect(200).json();
    assert_eq!(
        (&second["task_id"], &second["is_blocked"]),
        (&json!("T-2"), &json!(true))
    );
    for (fields, why) in [
        (json!({"task_id": "T-2"}), "blocked"),
        (json!({"task_id": "T-9"}), "unknown"),
        (json!({"task_id": "x"}), "no id"),
    ] {
        let refused = post("tasks/claim", fields).await.expect_problem(409);
        assert!(refused["detail"].is_string(), "{why}: {refused}");
    }
    let patch = async |task: &str, fields: Value| {
        let target = format!("/team/tasks/{task}?{}", query("u", "s"));
        let request = service.request("PATCH", &target, &fields.to_string());
        service.send(&request).await
    };
    let claimed = post("tasks/claim", json!({"task_id": "T-1"})).await;
    let claimed = claimed.expect(200).json();
    assert_eq!(
        claimed,
        json!({"task_id": "T-1", "status": "claimed", "assignee_agent_id": "user"})
    );
    post("tasks/claim", json!({"task_id": "T-1"}))
        .await
        .expect_problem(409);
    let done = json!({"status": "completed", "result_summary": "It is planned"});
    let done = patch("T-1", done).await.expect(200).json();
    assert_eq!(done, json!({"task_id": "T-1", "status": "completed"}));
    patch("T-1", json!({"status": "in_progress"}))
        .await
        .expect_problem(409);
    patch("T-2", json!({"status": "cancelled"}))
        .await
        .expect(200);
    let shown = service
        .get(&format!("/team/tasks?{}", query("u", "s")))
        .await
        .json();
    assert_eq!(shown[0]["result_summary"], "It is planned");
    assert_eq!(shown[1]["status"], "cancelled");
    post("stop", json!({})).await.expect(200);
}

#[tokio::test]
async fn malformed_nexau_requests_change_nothing() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = rig(&server);
    let service = Service::start(&rig, &["--sessions"]).await;
    let send = async |method: &str, target: &str, body: &str| {
        service.send(&service.request(method, target, body)).await
    };
    let long = "x".repeat(257);
    for (method, target, text, loc) in [
        ("POST", "/team/stream", "".to_owned(), json!(["body"])),
        ("POST", "/team/stream", "[]".to_owned(), json!(["body"])),
        ("POST", "/team/stream", "{".to_owned(), json!(["body", 0])),
        (
            "POST",
            "/team/stream",
            r#"{"user_id": "u"}"#.to_owned(),
            json!(["body", "session_id"]),
        ),
        (
            "POST",
            "/team/query",
            body("u", "s", json!({})).to_string(),
            json!(["body", "message"]),
        ),
        (
            "POST",
            "/team/query",
            body("u", "s", json!({"message": 1})).to_string(),
            json!(["body", "message"]),
        ),
        (
            "POST",
            "/team/query",
            body(&long, "s", json!({"message": "x"})).to_string(),
            json!(["body", "user_id"]),
        ),
        (
            "POST",
            "/team/stream",
            body(
                "u",
                "s",
                json!({"message": "x", "variables": {"sandbox_env": {"LD_PRELOAD": "x"}}}),
            )
            .to_string(),
            json!(["body", "variables"]),
        ),
        (
            "POST",
            "/team/tasks",
            body("u", "s", json!({"title": "x", "dependencies": "T-1"})).to_string(),
            json!(["body", "dependencies"]),
        ),
        (
            "POST",
            "/team/tasks",
            body("u", "s", json!({"title": "x", "priority": 1.5})).to_string(),
            json!(["body", "priority"]),
        ),
        (
            "POST",
            "/team/tasks/claim",
            body("u", "s", json!({})).to_string(),
            json!(["body", "task_id"]),
        ),
        (
            "POST",
            "/team/message",
            body("u", "s", json!({"content": "x"})).to_string(),
            json!(["body", "from_agent_id"]),
        ),
        (
            "PATCH",
            "/team/tasks/T-1?user_id=u&session_id=s",
            r#"{"status": "done"}"#.to_owned(),
            json!(["body", "status"]),
        ),
        (
            "PATCH",
            "/team/tasks/T-1?user_id=u",
            r#"{"status": "pending"}"#.to_owned(),
            json!(["query", "session_id"]),
        ),
        (
            "GET",
            "/team/status",
            String::new(),
            json!(["query", "user_id"]),
        ),
        (
            "GET",
            "/team/subscribe?user_id=u&session_id=s&after=x",
            String::new(),
            json!(["query", "after"]),
        ),
    ] {
        let answer = send(method, target, &text).await.expect(422);
        assert_eq!(
            answer.header("content-type").as_deref(),
            Some("application/json")
        );
        let detail = answer.json()["detail"][0].clone();
        assert_eq!(detail["loc"], loc, "{target} {text}\n{answer:?}");
        assert!(
            detail["type"].is_string() && detail["msg"].is_string(),
            "{detail}"
        );
    }
    let message = body("u", "s", json!({"content": "x", "from_agent_id": "a"}));
    for target in ["/team/user-message", "/team/message"] {
        service.post(target, &message).await.expect_problem(404);
    }
    let claim = body("u", "s", json!({"task_id": "T-1"}));
    service
        .post("/team/tasks/claim", &claim)
        .await
        .expect_problem(404);
    let patch = "/team/tasks/T-1?user_id=u&session_id=s";
    send("PATCH", patch, r#"{"status": "pending"}"#)
        .await
        .expect_problem(404);
    send("GET", "/team/stream", "").await.expect_problem(405);
    let goal = body("u", "s", json!({"message": "x"}));
    let foreign = service.request("POST", "/team/stream", &goal.to_string());
    let foreign = foreign.replacen("\r\n", "\r\nOrigin: http://evil.example\r\n", 1);
    service.send(&foreign).await.expect_problem(403);
    let read_only = Service::start(&rig, &["--sessions", "--read-only"]).await;
    read_only
        .post("/team/stream", &goal)
        .await
        .expect_problem(403);
    read_only
        .get("/team/status?user_id=u&session_id=s")
        .await
        .expect(200);
    let teams = rig.json(["team", "list"]).await;
    assert_eq!(teams["teams"], json!([]), "no team was started");
    assert_eq!(server.requests().len(), 0, "no model received a goal");
}

#[tokio::test]
async fn a_service_without_sessions_starts_no_team_for_nexau() {
    let rig = super::team().await;
    let service = Service::start(&rig, &[]).await;
    let goal = body("u", "s", json!({"message": "x"}));
    let problem = service
        .post("/team/stream", &goal)
        .await
        .expect_problem(404);
    assert!(
        problem["hint"]
            .as_str()
            .expect("a hint")
            .contains("--sessions")
    );
    let teams = rig.json(["team", "list"]).await;
    assert_eq!(teams["teams"].as_array().map(Vec::len), Some(1));
}

/// Sends the request of NexAU's guide to agent teams with curl, and reads the answer as NexAU's front end reads it:
/// line by line, and only lines with `data: `.
#[tokio::test]
async fn the_request_of_nexaus_guide_streams_a_goal() {
    let [(lead, replies), ada] = greeting();
    let server = FakeModelServer::start(by_model([(lead, replies), ada])).await;
    let rig = rig(&server);
    let service = Service::start(&rig, &["--sessions"]).await;
    let url = format!("http://{}/team/stream", service.address);
    let token = format!("Authorization: Bearer {}", service.token);
    let mut curl = tokio::process::Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--max-time",
        "60",
        "--noproxy",
        "*",
    ]);
    curl.args(["-X", "POST", &url, "-H", &token]);
    curl.args(["-H", "Content-Type: application/json"]);
    curl.args([
        "-d",
        r#"{"user_id": "u1", "session_id": "s1", "message": "Build a TODO app"}"#,
    ]);
    let Ok(output) = curl.output().await else {
        agent_team_tests::skipped("curl is not installed");
        return;
    };
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let messages: Vec<Value> = data
        .map(|json| serde_json::from_str(json).expect("JSON"))
        .collect();
    let (last, events) = messages.split_last().expect("a message");
    assert_eq!(last["type"], "complete");
    assert!(events.iter().all(|message| message["type"] == "team_event"));
    let finished = events
        .iter()
        .map(|message| &message["envelope"]["event"])
        .find(|event| event["type"] == "RUN_FINISHED");
    let finished = finished.expect("the goal ends");
    assert_eq!(
        finished["result"]["final_answer"],
        "The greeting is written."
    );
}
