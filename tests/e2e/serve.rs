//! `serve`: the HTTP service of a real team, over loopback and over a Unix socket.

mod access;
mod ag_ui;
mod client;
mod external_agents;
mod files;
mod fuzz;
mod hostile;
mod limits;
mod mcp;
mod metrics;
mod nexau;
mod page;
mod page_controls;
mod page_pictures;
mod page_screen;
mod page_views;
mod report_page;
mod telemetry;
mod tls;

use std::os::unix::fs::PermissionsExt;

use agent_team_system::process::Signal;
use agent_team_tests::{Rig, processes, until, within};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use self::client::{Service, read};
use crate::teams::{assigned, task};

/// A team with a task that no member claims.
async fn team() -> Rig {
    let rig = assigned(&["ada", "ben"], &task("Wait", "true", ""));
    rig.ok(["up"]).await;
    rig
}

/// Removes the values that change with the time.
fn timeless(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for name in ["for_ms", "up_ms", "working_ms", "why"] {
                fields.remove(name);
            }
            fields
                .values_mut()
                .for_each(|field| *field = timeless(field.take()));
        }
        Value::Array(all) => all.iter_mut().for_each(|one| *one = timeless(one.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

#[tokio::test]
async fn resources_return_the_documents_of_the_verbs() {
    let rig = team().await;
    rig.ok(["send", "ada", "hello"]).await;
    until("the message to be read", async || {
        let messages = rig.json(["messages"]).await;
        (messages["messages"][0]["state"] == "read").then_some(())
    })
    .await;
    let service = Service::start(&rig, &[]).await;
    for (path, document) in [
        ("/team", rig.json(["ps"]).await),
        ("/team/details", rig.json(["team", "show"]).await),
        ("/team/stats", rig.json(["stats"]).await),
        ("/team/mode", rig.json(["mode"]).await),
        ("/teams", rig.json(["team", "list"]).await),
        ("/tasks", rig.json(["task", "list"]).await),
        ("/tasks/T-1", rig.json(["task", "show", "T-1"]).await),
        ("/messages", rig.json(["messages", "--peek"]).await),
        (
            "/messages?of=ada&limit=1",
            rig.json(["messages", "ada", "--limit", "1"]).await,
        ),
        ("/requests", rig.json(["requests", "list"]).await),
    ] {
        let answer = service.get(&format!("/api/v1{path}")).await.expect(200);
        assert_eq!(answer.header("content-type").unwrap(), "application/json");
        assert_eq!(timeless(answer.json()), timeless(document), "{path}");
    }
    let named = service.get("/api/v1/team?team=demo").await.expect(200);
    assert_eq!(named.json()["members"][0]["name"], "ada");
}

#[tokio::test]
async fn requests_change_the_team_as_verbs_do() {
    let rig = team().await;
    let service = Service::start(&rig, &[]).await;
    let post = async |path: &str, body: Value| {
        let answer = service.post(&format!("/api/v1{path}"), &body).await;
        answer.expect(200).json()
    };
    let added = post("/tasks", json!({"title": "Paint", "labels": ["ui"]})).await;
    assert_eq!(added["task"], "T-2");
    let patch = service.request("PATCH", "/api/v1/tasks/T-2", r#"{"priority": 7}"#);
    service.send(&patch).await.expect(200);
    post("/tasks/T-2/cancel", json!({})).await;
    let shown = rig.json(["task", "show", "T-2"]).await;
    assert_eq!(
        (&shown["priority"], &shown["state"]),
        (&json!(7), &json!("cancelled"))
    );
    let spawned = post(
        "/members",
        json!({"role": "worker", "name": "cyd", "engine": "command"}),
    )
    .await;
    assert_eq!(spawned["member"]["name"], "cyd");
    let remove = service.head("DELETE", "/api/v1/members/cyd?force=true") + "\r\n";
    service.send(&remove).await.expect(200);
    // This request has neither a body nor a media type.
    let kill = service.head("POST", "/api/v1/members/ben/kill") + "\r\n";
    let killed = service.send(&kill).await.expect(200).json();
    assert_eq!(killed["member"]["state"], "stopped");
    let put = service.request("PUT", "/api/v1/memory/plan", r#"[1, null]"#);
    service.send(&put).await.expect(200);
    let memory = service
        .get("/api/v1/memory?key=plan")
        .await
        .expect(200)
        .json();
    assert_eq!(memory["values"]["plan"], json!([1, null]));
    let mode = service.request("PUT", "/api/v1/team/mode", r#"{"mode": "plan"}"#);
    assert_eq!(
        service.send(&mode).await.expect(200).json(),
        rig.json(["mode"]).await
    );
    let receipts = post("/team/down", json!({})).await;
    assert!(receipts["receipts"].is_array(), "{receipts}");
    assert_eq!(rig.json(["team", "show"]).await["state"], "down");
}

#[tokio::test]
async fn a_repeated_key_sends_one_message() {
    let rig = team().await;
    let service = Service::start(&rig, &[]).await;
    let send = async |key: &str, text: &str| {
        let body = json!({"to": "ada", "text": text}).to_string();
        let head = format!("POST /api/v1/messages HTTP/1.1\r\nIdempotency-Key: {key}\r\n");
        let request = service.request("POST", "/api/v1/messages", &body);
        let request = request.replacen("POST /api/v1/messages HTTP/1.1\r\n", &head, 1);
        service.send(&request).await
    };
    let first = send("k1", "once").await.expect(200).json();
    assert_eq!(send("k1", "once").await.expect(200).json(), first);
    let reused = send("k1", "twice").await.expect_problem(422);
    assert_eq!(reused["code"], "key_reused");
    let messages = rig.json(["messages"]).await;
    assert_eq!(
        messages["messages"].as_array().unwrap().len(),
        1,
        "{messages}"
    );
    assert_ne!(send("k2", "once").await.expect(200).json(), first);
    for key in ["", &"k".repeat(65)] {
        send(key, "never").await.expect_problem(400);
    }
    // The next supervisor remembers the key.
    rig.ok(["supervisor", "restart"]).await;
    assert_eq!(send("k1", "once").await.expect(200).json(), first);
}

#[tokio::test]
async fn events_continue_after_the_last_event_id() {
    let rig = team().await;
    let service = Service::start(&rig, &[]).await;
    let head = service.get("/api/v1/team").await.json()["revision"]
        .as_u64()
        .unwrap();
    let mut events = service.events("/api/v1/events", "").await;
    assert_eq!(events.status().await, 200);
    let snapshot = events.next().await.unwrap();
    assert_eq!(snapshot.data.unwrap()["event"]["type"], "STATE_SNAPSHOT");
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| *last < head) {
        seen.push(events.stored().await.unwrap().id.unwrap());
    }
    assert_eq!(seen, (1..=head).collect::<Vec<_>>());
    drop(events);

    service
        .post("/api/v1/messages", &json!({"to": "ada", "text": "one"}))
        .await
        .expect(200);
    let resume = format!("Last-Event-ID: {head}\r\n");
    let mut resumed = service.events("/api/v1/events?after=0", &resume).await;
    assert_eq!(resumed.status().await, 200);
    let first = resumed.stored().await.unwrap();
    assert_eq!(first.id, Some(head + 1));
    let printed = rig
        .ok(["events", "--json", "--after", &head.to_string()])
        .await
        .stdout;
    let printed: Value = serde_json::from_str(printed.lines().next().unwrap()).unwrap();
    assert_eq!(first.data.unwrap(), printed);
    // The stream outlives a restart of the supervisor, without a gap.
    rig.ok(["supervisor", "restart"]).await;
    service
        .post("/api/v1/messages", &json!({"to": "ada", "text": "two"}))
        .await
        .expect(200);
    let mut last = head + 1;
    loop {
        let event = resumed.stored().await.unwrap();
        assert_eq!(event.id, Some(last + 1));
        last += 1;
        if event
            .data
            .is_some_and(|data| data["event"]["value"]["text"] == "two")
        {
            break;
        }
    }
}

#[tokio::test]
async fn a_revision_that_does_not_exist_cannot_be_resumed() {
    let rig = team().await;
    let service = Service::start(&rig, &[]).await;
    let problem = service
        .get("/api/v1/events?after=99999")
        .await
        .expect_problem(409);
    assert_eq!(problem["code"], "wrong_state");
    for target in [
        "/api/v1/events?after=-1",
        "/api/v1/events?after=x",
        "/api/v1/events?since=1",
    ] {
        service.get(target).await.expect_problem(400);
    }
    service
        .get("/api/v1/events?team=unknown")
        .await
        .expect_problem(404);
}

#[tokio::test]
async fn a_slow_reader_is_cut_off_and_resumes() {
    let rig = team().await;
    let service = Service::start(&rig, &[]).await;
    let mut slow = service.events("/api/v1/events", "").await;
    assert_eq!(slow.status().await, 200);
    assert!(slow.stored().await.is_some());
    let mut fast = service.events("/api/v1/events", "").await;
    assert_eq!(fast.status().await, 200);
    // The values exceed the ring and the buffers of the connection together.
    let value = format!("\"{}\"", "x".repeat(60_000));
    for _ in 0..250 {
        let put = service.request("PUT", "/api/v1/memory/big", &value);
        service.send(&put).await.expect(200);
        let newest = async {
            while fast
                .stored()
                .await
                .unwrap()
                .data
                .is_none_or(|data| data["event"]["name"] != "memory")
            {}
        };
        within("the fast reader", newest).await;
    }
    let head = service.get("/api/v1/team").await.json()["revision"]
        .as_u64()
        .unwrap();
    let mut last = 1;
    while let Some(event) = slow.stored().await {
        assert_eq!(event.id, Some(last + 1), "the stream has no gap");
        last += 1;
    }
    assert!(last < head, "the reader was not cut off");
    let mut resumed = service
        .events("/api/v1/events", &format!("Last-Event-ID: {last}\r\n"))
        .await;
    assert_eq!(resumed.status().await, 200);
    while last < head {
        assert_eq!(resumed.stored().await.unwrap().id, Some(last + 1));
        last += 1;
    }
}

#[tokio::test]
async fn a_unix_socket_serves_its_user_without_a_token() {
    let rig = team().await;
    let path = rig.root().join("team.sock");
    let listen = format!("unix:{}", path.display());
    let mut verb = rig.start(["serve", "--listen", &listen, "--json"]);
    let printed: Value = serde_json::from_str(&verb.line().await).unwrap();
    assert_eq!(printed, json!({"socket": path}));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let request = "GET /api/v1/team HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let team = read(stream).await.expect(200).json();
    assert_eq!(team["members"][0]["name"], "ada");
    // A second service, and a file that is not a socket, keep the path.
    let used = rig.refused(1, ["serve", "--listen", &listen]).await;
    assert_eq!(used["code"], "io");
    let file = rig.root().join("notes.txt");
    std::fs::write(&file, "mine").unwrap();
    rig.refused(
        1,
        ["serve", "--listen", &format!("unix:{}", file.display())],
    )
    .await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    // A service removes only its own socket.
    std::fs::rename(&path, rig.root().join("moved.sock")).unwrap();
    let mut second = rig.start(["serve", "--listen", &listen, "--json"]);
    second.line().await;
    let first = processes::living(verb.pid());
    assert!(first.signal(Signal::SIGTERM).unwrap());
    verb.wait().await;
    UnixStream::connect(&path).await.unwrap();
    let second_process = processes::living(second.pid());
    assert!(second_process.signal(Signal::SIGTERM).unwrap());
    second.wait().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn tokens_limit_the_rights_of_http_requests() {
    let rig = team().await;
    let (all, view, decide) = ("a".repeat(40), "v".repeat(40), "d".repeat(40));
    let file = rig.root().join("tokens");
    let lines = format!("{all}\n{view} view\n{decide} decide\n");
    std::fs::write(&file, lines).unwrap();
    let set_mode = |mode| std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    set_mode(0o644);
    let name = file.to_str().unwrap();
    rig.refused(2, ["serve", "--token-file", name]).await;
    set_mode(0o600);
    let mut service = Service::start(&rig, &["--token-file", name]).await;
    assert_eq!(service.token, "", "the token of a file is not printed");
    for (token, read, send, mode) in [
        (&all, 200, 200, 200),
        (&view, 200, 403, 403),
        (&decide, 200, 403, 200),
        (&"x".repeat(40), 401, 401, 401),
    ] {
        service.token.clone_from(token);
        service.get("/api/v1/team").await.expect(read);
        let message = json!({"to": "ada", "text": "hello"});
        service
            .post("/api/v1/messages", &message)
            .await
            .expect(send);
        let put = service.request("PUT", "/api/v1/team/mode", r#"{"mode": "plan"}"#);
        service.send(&put).await.expect(mode);
    }
    let read_only = Service::start(&rig, &["--read-only"]).await;
    let revision = read_only.get("/api/v1/team").await.expect(200).json()["revision"].clone();
    let message = json!({"to": "ada", "text": "hello"});
    let refused = read_only
        .post("/api/v1/messages", &message)
        .await
        .expect_problem(403);
    assert_eq!(refused["code"], "not_permitted");
    assert_eq!(
        read_only.get("/api/v1/team").await.json()["revision"],
        revision
    );
}

#[tokio::test]
async fn a_public_address_needs_a_token_file() {
    let rig = team().await;
    let error = rig.refused(2, ["serve", "--listen", "0.0.0.0:0"]).await;
    assert_eq!(error["code"], "invalid");
    assert!(
        error["hint"].as_str().unwrap().contains("--token-file"),
        "{error}"
    );
    rig.refused(2, ["serve", "--listen", "example.org:80"])
        .await;
}

#[tokio::test]
async fn a_stopped_supervisor_is_not_started_by_a_request() {
    let rig = team().await;
    let service = Service::start(&rig, &[]).await;
    service.get("/api/v1/team").await.expect(200);
    rig.ok(["supervisor", "stop"]).await;
    let problem = service.get("/api/v1/team").await.expect_problem(503);
    assert_eq!(problem["code"], "unreachable");
    service.get("/api/v1/events").await.expect_problem(503);
    rig.ok(["up"]).await;
    service.get("/api/v1/team").await.expect(200);
}

#[tokio::test]
async fn up_with_web_opens_the_page_and_leaves_the_team_up() {
    let mut rig = assigned(&["ada"], "");
    // The browser is a script that keeps the file that it receives.
    let programs = rig.root().join("programs");
    let (browser, opened) = (programs.join("xdg-open"), rig.root().join("opened.html"));
    std::fs::create_dir(&programs).unwrap();
    let script = format!(
        "#!/bin/sh\ncp \"$1\" '{0}.new' && mv '{0}.new' '{0}'\n",
        opened.display()
    );
    std::fs::write(&browser, script).unwrap();
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    rig.set("PATH", format!("{}:{path}", programs.display()));
    let error = rig.refused(2, ["up", "--web"]).await;
    assert!(
        error["hint"].as_str().unwrap().contains("serve --json"),
        "{error}"
    );
    let mut verb = rig.start(["up", "--web"]);
    let url = loop {
        let line = verb.line().await;
        if line.starts_with("http://") {
            break line.trim().to_owned();
        }
    };
    let page = until("the browser", async || {
        std::fs::read_to_string(&opened).ok()
    })
    .await;
    assert!(page.contains(&url), "{page}");
    let (address, token) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once("/#")
        .unwrap();
    let request = format!(
        "GET /api/v1/team HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(
        read(stream).await.expect(200).json()["members"][0]["name"],
        "ada"
    );
    processes::living(verb.pid())
        .signal(Signal::SIGINT)
        .unwrap();
    assert!(verb.wait().await.success());
    assert_eq!(rig.json(["team", "show"]).await["state"], "up");
}
