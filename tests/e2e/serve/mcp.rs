//! `/mcp`: a client of the Model Context Protocol joins the team over HTTP.

use agent_team_tests::until;
use serde_json::{Value, json};

use super::client::{Answer, Service};
use super::team;

/// The document in an answer: JSON, or the first server-sent event with a document.
fn document(answer: &Answer) -> Value {
    let lines = answer.body.lines();
    let mut events =
        lines.filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok());
    events.next().unwrap_or_else(|| answer.json())
}

async fn send(service: &Service, session: Option<&str>, body: &Value) -> Answer {
    let request = service.request("POST", "/mcp", &body.to_string());
    let mut headers = "\r\nAccept: application/json, text/event-stream\r\n".to_owned();
    if let Some(session) = session {
        headers.push_str(&format!("Mcp-Session-Id: {session}\r\n"));
        headers.push_str("MCP-Protocol-Version: 2025-11-25\r\n");
    }
    service.send(&request.replacen("\r\n", &headers, 1)).await
}

fn initialize(version: &str) -> Value {
    json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {
            "protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "a test", "version": "1"},
        },
    })
}

/// Opens a session of the service; returns the id of the session.
async fn open(service: &Service) -> String {
    // The newest revision has no sessions over HTTP, so the server answers with the previous revision.
    let answer = send(service, None, &initialize("2026-07-28"))
        .await
        .expect(200);
    let result = &document(&answer)["result"];
    assert_eq!(result["protocolVersion"], "2025-11-25", "{answer:?}");
    assert_eq!(result["serverInfo"]["name"], "agent-team");
    let session = answer.header("mcp-session-id").expect("a session");
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    send(service, Some(&session), &initialized)
        .await
        .expect(202);
    session
}

async fn tools(service: &Service, session: &str) -> Vec<String> {
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let answer = send(service, Some(session), &list).await.expect(200);
    let document = document(&answer);
    let tools = document["result"]["tools"].as_array().expect("tools");
    let names = tools.iter().filter_map(|tool| tool["name"].as_str());
    names.map(str::to_owned).collect()
}

async fn call(service: &Service, session: &str, tool: &str, arguments: Value) -> String {
    let params = json!({"name": tool, "arguments": arguments});
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params});
    let answer = send(service, Some(session), &call).await.expect(200);
    let document = document(&answer);
    let text = &document["result"]["content"][0]["text"];
    text.as_str()
        .unwrap_or_else(|| panic!("{document}"))
        .to_owned()
}

#[tokio::test]
async fn an_mcp_session_over_http_joins_the_team_until_it_ends() {
    let rig = team().await;
    let service = Service::start(&rig, &[]).await;
    let session = open(&service).await;
    let unjoined = tools(&service, &session).await;
    assert_eq!(
        unjoined,
        ["list_teams", "create_team", "join_team", "delete_team"]
    );
    let joined = call(&service, &session, "join_team", json!({"name": "zoe"})).await;
    assert!(joined.contains("You are the member zoe"), "{joined}");
    let offered = tools(&service, &session).await;
    assert!(
        offered.iter().any(|name| name == "send_message"),
        "{offered:?}"
    );
    let sent = json!({"to": "user", "text": "Here I am"});
    call(&service, &session, "send_message", sent).await;
    let messages = rig.json(["messages"]).await;
    let newest = messages["messages"].as_array().expect("messages").last();
    assert_eq!(newest.expect("a message")["from"], "zoe", "{messages}");
    // Another session does not act as that member.
    let other = open(&service).await;
    let refused = call(
        &service,
        &other,
        "send_message",
        json!({"to": "user", "text": "x"}),
    )
    .await;
    assert!(refused.contains("this session is in no team"), "{refused}");
    // The member's launch ends with the session.
    let delete = service.head("DELETE", "/mcp") + &format!("Mcp-Session-Id: {session}\r\n\r\n");
    let deleted = service.send(&delete).await;
    assert!((200..300).contains(&deleted.status), "{deleted:?}");
    until("the end of the launch", async || {
        let zoe = rig.member("zoe").await;
        zoe.launch.is_none().then_some(())
    })
    .await;
    let list = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list"});
    send(&service, Some(&session), &list).await.expect(404);
}

#[tokio::test]
async fn an_mcp_session_asks_before_it_deletes_a_team() {
    let rig = team().await;
    let service = Service::start(&rig, &[]).await;
    let session = open(&service).await;
    let answer = call(&service, &session, "delete_team", json!({"team": "demo"})).await;
    assert!(answer.contains("cannot ask the user"), "{answer}");
    assert_eq!(rig.json(["team", "show"]).await["state"], "up");
}

#[tokio::test]
async fn mcp_needs_the_token_the_host_and_no_origin() {
    let rig = team().await;
    let mut service = Service::start(&rig, &[]).await;
    let request = service.request("POST", "/mcp", &initialize("2025-11-25").to_string());
    let request = request.replacen(
        "\r\n",
        "\r\nAccept: application/json, text/event-stream\r\n",
        1,
    );
    service.send(&request).await.expect(200);
    let own = format!("\r\nOrigin: http://{}\r\n", service.address);
    for (from, to, status) in [
        ("\r\nHost: ", "\r\nHost: x", 421),
        ("Bearer ", "Bearer x", 401),
        ("\r\n", "\r\nOrigin: http://evil.example\r\n", 403),
        ("\r\n", "\r\nSec-Fetch-Site: cross-site\r\n", 403),
        ("\r\n", &own, 403),
        ("application/json\r\n", "text/plain\r\n", 415),
    ] {
        let broken = match from {
            "application/json\r\n" => request.replace(
                "Content-Type: application/json\r\n",
                "Content-Type: text/plain\r\n",
            ),
            _ => request.replacen(from, to, 1),
        };
        service.send(&broken).await.expect(status);
    }
    service.token = "x".repeat(64);
    service.get("/mcp").await.expect_problem(401);
    let read_only = Service::start(&rig, &["--read-only"]).await;
    for method in ["GET", "POST", "DELETE"] {
        let request = read_only.request(method, "/mcp", "{}");
        read_only.send(&request).await.expect_problem(403);
    }
    let members = rig.json(["ps"]).await;
    assert_eq!(members["members"].as_array().map(Vec::len), Some(2));
}
