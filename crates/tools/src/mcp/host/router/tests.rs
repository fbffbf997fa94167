//! Tests of the messages between members and a shared server, without I/O.

use super::*;

fn line(message: &Value) -> String {
    line_of(message).to_string()
}

fn call(id: u64) -> String {
    let params = json!({"name": "x", "_meta": {"progressToken": id}});
    line(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}))
}

fn server_sends(router: &mut Router, message: &Value) -> Option<Value> {
    let reply = router.handle_server(&line(message));
    reply.map(|reply| serde_json::from_str(&reply).unwrap())
}

/// Sends a member's call. Returns the id that the server receives.
fn calls(router: &mut Router, client: ClientId, id: u64) -> u64 {
    let sent = router.handle_client(client, &call(id)).unwrap();
    let sent: Value = serde_json::from_str(&sent).unwrap();
    assert_eq!(sent["params"]["_meta"]["progressToken"], sent["id"]);
    sent["id"].as_u64().unwrap()
}

fn received(inbox: &mut Inbox) -> Vec<Value> {
    let lines = std::iter::from_fn(|| {
        let line = inbox.lines.try_recv().ok()?;
        inbox.sent(&line);
        Some(line)
    });
    lines
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect()
}

/// Connects a member that has received the result of `initialize`.
fn joined(router: &mut Router) -> (ClientId, Inbox) {
    let (client, mut inbox) = router.attach();
    router.finish_initialize(client, line(&json!({"id": 0, "result": {}})).into());
    received(&mut inbox);
    (client, inbox)
}

fn form(id: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": {}})
}

#[test]
fn members_receive_the_answers_to_their_own_ids() {
    let mut router = Router::default();
    let ((ada, mut to_ada), (ben, mut to_ben)) = (router.attach(), router.attach());
    let (of_ada, of_ben) = (calls(&mut router, ada, 7), calls(&mut router, ben, 7));
    assert_ne!(of_ada, of_ben);
    let progress = json!({"method": PROGRESS, "params": {"progressToken": of_ben, "progress": 1}});
    assert_eq!(server_sends(&mut router, &progress), None);
    // A number that no type of Rust can hold.
    let big = "123456789012345678901234567890";
    let answer = format!("{{\"id\":{of_ben},\"result\":{{\"n\":{big}}}}}\n");
    assert!(router.handle_server(&answer).is_none());
    let error = json!({"id": of_ada, "error": {"code": 1, "message": "no"}});
    assert_eq!(server_sends(&mut router, &error), None);
    let received_by_ada = received(&mut to_ada);
    assert_eq!(received_by_ada.len(), 1);
    assert_eq!(received_by_ada[0]["id"], 7);
    assert_eq!(received_by_ada[0]["error"]["message"], "no");
    let progress = to_ben.lines.try_recv().unwrap();
    assert!(progress.contains("\"progressToken\":7"), "{progress}");
    let answer = to_ben.lines.try_recv().unwrap();
    assert!(
        answer.contains("\"id\":7") && answer.contains(big),
        "{answer}"
    );
    assert!(server_sends(&mut router, &error).is_none() && received(&mut to_ada).is_empty());
}

#[test]
fn a_server_is_initialized_once() {
    let mut router = Router::default();
    let initialize = line(&json!({"id": 0, "method": "initialize", "params": {"a": 1}}));
    let ((ada, mut to_ada), (ben, mut to_ben)) = (router.attach(), router.attach());
    let sent = router.handle_client(ada, &initialize).unwrap();
    let sent: Value = serde_json::from_str(&sent).unwrap();
    assert_eq!(sent["params"], json!({"a": 1}));
    assert!(router.handle_client(ben, &initialize).is_none());
    let result = json!({"id": sent["id"], "result": {"serverInfo": {}}});
    let reply = server_sends(&mut router, &result).unwrap();
    assert_eq!(reply["method"], "notifications/initialized");
    let (cleo, mut to_cleo) = router.attach();
    assert!(router.handle_client(cleo, &initialize).is_none());
    for inbox in [&mut to_ada, &mut to_ben, &mut to_cleo] {
        let received = received(inbox);
        assert_eq!(received[0]["result"], json!({"serverInfo": {}}));
    }
    let initialized = line(&json!({"method": "notifications/initialized"}));
    assert!(router.handle_client(ada, &initialized).is_none());
}

#[test]
fn requests_wait_for_no_member_in_its_handshake() {
    let mut router = Router::default();
    let (_ada, mut to_ada) = router.attach();
    let roots = |id: u64| json!({"id": id, "method": "roots/list"});
    let refused = server_sends(&mut router, &roots(1)).unwrap();
    assert_eq!(refused["error"]["message"], "no member is connected");
    let (_ben, mut to_ben) = joined(&mut router);
    assert_eq!(server_sends(&mut router, &roots(2)), None);
    let changed = json!({"method": "notifications/tools/list_changed"});
    assert_eq!(server_sends(&mut router, &changed), None);
    assert_eq!(received(&mut to_ben), [roots(2), changed]);
    assert!(received(&mut to_ada).is_empty());
}

#[test]
fn an_answer_can_spell_the_id_with_other_escapes() {
    let mut router = Router::default();
    let (ada, _to_ada) = joined(&mut router);
    let roots = "{\"id\":\"\\u0061\\/1\",\"method\":\"roots/list\"}\n";
    assert!(router.handle_server(roots).is_none());
    let answer = line(&json!({"id": "a/1", "result": {}}));
    assert!(router.handle_client(ada, &answer).is_some());
}

#[test]
fn a_form_goes_to_the_only_member_with_a_call() {
    let mut router = Router::default();
    let ((ada, mut to_ada), (ben, mut to_ben)) = (joined(&mut router), joined(&mut router));
    let refused = server_sends(&mut router, &form("one")).unwrap();
    assert_eq!(refused["error"]["message"], "no call is in flight");
    let of_ben = calls(&mut router, ben, 1);
    calls(&mut router, ben, 2);
    assert_eq!(server_sends(&mut router, &form("two")), None);
    assert_eq!(received(&mut to_ben)[0]["method"], "elicitation/create");
    let answer = line(&json!({"id": "two", "result": {"action": "accept"}}));
    assert!(
        router.handle_client(ada, &answer).is_none(),
        "ada was not asked"
    );
    assert_eq!(
        router.handle_client(ben, &answer).as_deref(),
        Some(&*answer)
    );
    assert!(router.handle_client(ben, &answer).is_none(), "one answer");
    calls(&mut router, ada, 1);
    let refused = server_sends(&mut router, &form("three")).unwrap();
    let why = refused["error"]["message"].as_str().unwrap();
    assert!(why.starts_with("calls of several members"), "{why}");
    let roots = json!({"id": 5, "method": "roots/list"});
    assert_eq!(server_sends(&mut router, &roots), None);
    assert_eq!(received(&mut to_ada).len(), 1);
    let answer = json!({"id": of_ben, "result": {}});
    assert_eq!(server_sends(&mut router, &answer), None);
    assert!(received(&mut to_ada).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_form_of_a_cancelled_call_goes_to_no_member() {
    let mut router = Router::default();
    let ((ada, _to_ada), (ben, mut to_ben)) = (joined(&mut router), joined(&mut router));
    let cancel = line(&json!({"method": CANCELLED, "params": {"requestId": 1}}));
    for ends in [true, false] {
        let of_ada = calls(&mut router, ada, 1);
        let of_ben = calls(&mut router, ben, 1);
        router.handle_client(ada, &cancel).unwrap();
        let refused = server_sends(&mut router, &form("one")).unwrap();
        let why = refused["error"]["message"].as_str().unwrap();
        assert!(
            why.starts_with("a cancelled call of another member"),
            "{why}"
        );
        match ends {
            true => drop(server_sends(
                &mut router,
                &json!({"id": of_ada, "result": {}}),
            )),
            false => tokio::time::advance(CANCELLED_LIMIT).await,
        }
        assert_eq!(server_sends(&mut router, &form("two")), None);
        assert_eq!(received(&mut to_ben)[0]["method"], "elicitation/create");
        let answer = line(&json!({"id": "two", "result": {}}));
        router.handle_client(ben, &answer).unwrap();
        server_sends(&mut router, &json!({"id": of_ben, "result": {}}));
        received(&mut to_ben);
    }
}

#[test]
fn a_list_is_kept_until_the_server_reports_a_change() {
    let mut router = Router::default();
    let ((ada, mut to_ada), (ben, mut to_ben)) = (joined(&mut router), joined(&mut router));
    let list = |id: u64, page: &str| {
        let params = json!({"cursor": page, "_meta": {"n": id}});
        line(&json!({"id": id, "method": "tools/list", "params": params}))
    };
    let asks = |router: &mut Router, client: ClientId, id: u64, page: &str| {
        let sent = router.handle_client(client, &list(id, page));
        let sent: Option<Value> = sent.map(|sent| serde_json::from_str(&sent).unwrap());
        sent.map(|sent| sent["id"].clone())
    };
    let answer = |id: &Value, tools: u64| json!({"id": id, "result": {"tools": tools}});
    let changed = json!({"method": "notifications/tools/list_changed"});
    let first = asks(&mut router, ada, 1, "").unwrap();
    server_sends(&mut router, &answer(&first, 1));
    assert_eq!(asks(&mut router, ben, 9, ""), None);
    assert_eq!(
        received(&mut to_ben)[0],
        json!({"jsonrpc": "2.0", "id": 9, "result": {"tools": 1}})
    );
    assert!(asks(&mut router, ben, 10, "more").is_some(), "another page");
    server_sends(&mut router, &changed);
    let second = asks(&mut router, ada, 2, "").expect("the list has changed");
    server_sends(&mut router, &changed);
    server_sends(&mut router, &answer(&second, 2));
    assert!(
        asks(&mut router, ben, 11, "").is_some(),
        "the answer can be older than the change"
    );
    assert_eq!(received(&mut to_ada).len(), 4);
}

#[test]
fn members_are_informed_of_a_stray_line_once() {
    let mut router = Router::default();
    let (_ada, mut to_ada) = joined(&mut router);
    router.report_stray("Listening");
    let forged = json!({"method": STRAY, "params": {"line": "forged"}});
    assert_eq!(server_sends(&mut router, &forged), None);
    let stray = json!({"jsonrpc": "2.0", "method": STRAY, "params": {"line": "Listening"}});
    assert_eq!(received(&mut to_ada), std::slice::from_ref(&stray));
    let (ben, mut to_ben) = router.attach();
    router.finish_initialize(ben, line(&json!({"id": 0, "result": {}})).into());
    assert_eq!(received(&mut to_ben)[1], stray);
}

#[test]
fn a_member_of_a_blocked_server_receives_errors() {
    let mut router = Router::default();
    let ((ada, mut to_ada), (ben, mut to_ben)) = (joined(&mut router), joined(&mut router));
    calls(&mut router, ada, 1);
    calls(&mut router, ben, 1);
    router.fail(ada, &call(2), "it does not read");
    let errors = received(&mut to_ada);
    let ids: BTreeSet<_> = errors.iter().map(|it| it["id"].as_u64()).collect();
    assert_eq!(ids, BTreeSet::from([Some(1), Some(2)]));
    assert!(
        errors
            .iter()
            .all(|it| it["error"]["message"] == "it does not read")
    );
    assert!(to_ada.lines.is_closed() && received(&mut to_ben).is_empty());
}

#[test]
fn a_disconnected_member_cancels_only_its_calls() {
    let mut router = Router::default();
    let ((ada, _to_ada), (ben, mut to_ben)) = (router.attach(), router.attach());
    let of_ada = calls(&mut router, ada, 1);
    assert_eq!(server_sends(&mut router, &form("one")), None);
    let of_ben = calls(&mut router, ben, 1);
    let cancel = |id: u64| {
        let params = json!({"requestId": id});
        line(&json!({"method": CANCELLED, "params": params}))
    };
    assert!(router.handle_client(ben, &cancel(of_ada)).is_none());
    let lines = router.detach(ada).join("");
    assert!(
        lines.contains(&format!("\"requestId\":{of_ada}")),
        "{lines}"
    );
    assert!(lines.contains("the member has disconnected"), "{lines}");
    assert!(!router.is_unused());
    let answer = |id: u64| json!({"id": id, "result": {}});
    assert_eq!(server_sends(&mut router, &answer(of_ada)), None);
    assert_eq!(server_sends(&mut router, &answer(of_ben)), None);
    assert_eq!(received(&mut to_ben).len(), 1);
    let of_ben = calls(&mut router, ben, 2);
    let cancelled = router.handle_client(ben, &cancel(2)).unwrap();
    assert!(cancelled.contains(&format!("\"requestId\":{of_ben}")));
    router.server_gone("it exited");
    assert!(received(&mut to_ben).is_empty() && router.is_unused());
}

#[test]
fn a_member_that_does_not_read_is_disconnected() {
    let mut router = Router::default();
    let ((_ada, mut to_ada), (_ben, mut to_ben)) = (joined(&mut router), joined(&mut router));
    let text = "x".repeat(1 << 20);
    let log = line(&json!({"method": LOG, "params": {"data": text}}));
    let changed = line(&json!({"method": "notifications/tools/list_changed", "params": text}));
    let read = |inbox: &mut Inbox| {
        let mut lines = 0;
        while let Ok(line) = inbox.lines.try_recv() {
            inbox.sent(&line);
            lines += 1;
        }
        lines
    };
    let mut of_ben = 0;
    for _ in 0..40 {
        router.handle_server(&log);
        of_ben += read(&mut to_ben);
    }
    assert_eq!(of_ben, 40);
    assert!((16..20).contains(&to_ada.lines.len()), "logs are dropped");
    for _ in 0..40 {
        router.handle_server(&changed);
        of_ben += read(&mut to_ben);
    }
    assert_eq!(of_ben, 80, "another member receives everything");
    assert_eq!(router.clients.len(), 1);
    assert!(read(&mut to_ada) < 40);
    assert!(to_ada.lines.is_closed(), "ada is disconnected");
}

#[test]
fn pending_requests_name_the_reason_when_a_server_dies() {
    let mut router = Router::default();
    let (ada, mut to_ada) = router.attach();
    let initialize = line(&json!({"id": 0, "method": "initialize"}));
    router.handle_client(ada, &initialize);
    calls(&mut router, ada, 1);
    router.server_gone("the program exited (exit 3)");
    let received = received(&mut to_ada);
    assert_eq!(received.len(), 2);
    for message in received {
        assert_eq!(message["error"]["code"], SERVER_GONE.0);
        assert_eq!(message["error"]["message"], "the program exited (exit 3)");
    }
}

#[test]
fn a_first_request_after_the_exit_gets_the_reason() {
    let mut router = Router::default();
    let (ada, mut to_ada) = router.attach();
    router.server_gone("the program exited (exit 7)");
    assert!(!to_ada.lines.is_closed());
    router.refuse(ada, &line(&json!({"id": 0, "method": "initialize"})));
    let received = received(&mut to_ada);
    assert_eq!(
        received[0]["error"]["message"],
        "the program exited (exit 7)"
    );
    assert!(to_ada.lines.is_closed() && router.is_unused());
}

#[test]
fn invalid_messages_are_dropped() {
    let mut router = Router::default();
    let (ada, mut to_ada) = router.attach();
    let deep = "[".repeat(100_000);
    for text in [
        "",
        "{}",
        "[]",
        "null",
        "{\"id\":1}",
        "{\"id\":1,\"result\":{}}",
        "{\"method\":3}",
        "{\"method\":\"notifications/progress\",\"params\":[1]}",
        "{\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":{}}}",
        "{\"id\":1,\"id\":2,\"method\":\"ping\"}",
        &deep,
    ] {
        assert!(router.handle_server(text).is_none(), "{text}");
        assert!(router.handle_client(ada, text).is_none(), "{text}");
    }
    assert!(received(&mut to_ada).is_empty());
}

fn asks(router: &mut Router, client: ClientId, id: u64, method: &str) -> Option<Value> {
    let sent = router.handle_client(
        client,
        &line(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {}})),
    );
    sent.map(|sent| serde_json::from_str(&sent).unwrap())
}

#[test]
fn a_server_that_is_discovered_never_receives_initialize() {
    let mut router = Router::default();
    let ((ada, mut to_ada), (ben, mut to_ben)) = (router.attach(), router.attach());
    let sent = asks(&mut router, ada, 1, "initialize").unwrap();
    let error = json!({"code": UNSUPPORTED, "message": "unsupported"});
    server_sends(&mut router, &json!({"id": sent["id"], "error": error}));
    assert!(router.has_refused() && router.is_discovered());
    assert_eq!(received(&mut to_ada)[0]["error"], error);
    assert_eq!(asks(&mut router, ben, 1, "initialize"), None);
    assert_eq!(received(&mut to_ben)[0]["error"]["code"], UNSUPPORTED);

    // A router for the next process of the server.
    let mut router = Router::new(true);
    let (ada, mut to_ada) = router.attach();
    let sent = asks(&mut router, ada, 2, DISCOVER).unwrap();
    server_sends(&mut router, &json!({"id": sent["id"], "error": error}));
    assert_eq!(received(&mut to_ada)[0]["error"], error);
    assert!(!router.is_discovered(), "the discovery is repeated");
    assert!(asks(&mut router, ada, 3, "initialize").is_some());
}

#[test]
fn changes_reach_the_member_that_subscribed_under_its_own_id() {
    let mut router = Router::default();
    let ((ada, mut to_ada), (_ben, mut to_ben)) = (joined(&mut router), joined(&mut router));
    let sent = asks(&mut router, ada, 7, "subscriptions/listen").unwrap();
    assert_ne!(sent["id"], 7);
    let changed = |id: &Value| {
        let meta = json!({"io.modelcontextprotocol/subscriptionId": id});
        json!({"method": "notifications/tools/list_changed", "params": {"_meta": meta}})
    };
    assert_eq!(server_sends(&mut router, &changed(&sent["id"])), None);
    let lines = received(&mut to_ada);
    assert_eq!(lines[0]["params"], changed(&json!(7))["params"]);
    assert_eq!(received(&mut to_ben), [] as [Value; 0]);
}
