//! `web_search` by the model provider, by the user's search endpoint, and without a backend.

use agent_team_tests::Rig;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request, in_turn};
use serde_json::{Value, json};

/// A team of a lead alone; `more` is appended to its team file.
fn rig(server: &FakeModelServer, model: &str, more: &str) -> Rig {
    let mut rig = Rig::with_team(&format!(
        "mode = \"lead\"\n[panes]\nplacement = \"headless\"\n[lead]\nmodel = {model:?}\n{more}"
    ));
    let url = server.base_url();
    let own = url.trim_end_matches("/v1");
    rig.set("OPENAI_BASE_URL", &url);
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    rig.set("ANTHROPIC_BASE_URL", own);
    rig.set("ANTHROPIC_API_KEY", "a-key-for-tests");
    rig
}

/// The search tools that the request offers.
fn searches(request: &Request) -> Vec<Value> {
    let tools = request.body["tools"].as_array().cloned();
    let is_search = |tool: &Value| tool.to_string().contains("web_search");
    tools
        .unwrap_or_default()
        .into_iter()
        .filter(is_search)
        .collect()
}

fn finish() -> Reply {
    Reply::call("finish", json!({"answer": "Done."}))
}

/// The events of a provider's answer that includes the provider's search.
fn searched() -> Vec<Value> {
    let event = |index: u32, kind: &str, field: &str, value: Value| json!({ "type": kind, "index": index, field: value });
    let begin = |index, block| event(index, "content_block_start", "content_block", block);
    let delta = |index, delta| event(index, "content_block_delta", "delta", delta);
    vec![
        json!({ "type": "message_start", "message": { "usage": { "input_tokens": 900, "output_tokens": 1 } } }),
        begin(0, json!({ "type": "text", "text": "" })),
        delta(0, json!({ "type": "text_delta", "text": "I look it up." })),
        begin(
            1,
            json!({ "type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {} }),
        ),
        delta(
            1,
            json!({ "type": "input_json_delta", "partial_json": "{\"query\": \"latest" }),
        ),
        delta(
            1,
            json!({ "type": "input_json_delta", "partial_json": " tokio\"}" }),
        ),
        begin(
            2,
            json!({ "type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [
                { "type": "web_search_result", "title": "Tokio 1.54", "url": "https://tokio.example/154",
                  "encrypted_content": "c2VhbGVk", "page_age": null },
            ] }),
        ),
        begin(3, json!({ "type": "text", "text": "", "citations": [] })),
        delta(3, json!({ "type": "text_delta", "text": "It is 1.54." })),
        delta(
            3,
            json!({ "type": "citations_delta", "citation": {
                "type": "web_search_result_location", "url": "https://tokio.example/154", "title": "Tokio 1.54",
                "encrypted_index": "aW5kZXg=", "cited_text": "1.54 is out",
            } }),
        ),
        begin(
            4,
            json!({ "type": "tool_use", "id": "toolu_1", "name": "list_tasks", "input": {} }),
        ),
        json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" },
            "usage": { "output_tokens": 40, "server_tool_use": { "web_search_requests": 1 } } }),
        json!({ "type": "message_stop" }),
    ]
}

fn streamed(events: &[Value]) -> Reply {
    let events: Vec<String> = events.iter().map(Value::to_string).collect();
    Reply::events(&events.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test]
async fn provider_search_results_are_replayed_to_the_provider() {
    let paused = [
        json!({ "type": "content_block_start", "index": 0, "content_block": {
            "type": "server_tool_use", "id": "srvtoolu_2", "name": "web_search", "input": { "query": "more" } } }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "pause_turn" } }),
        json!({ "type": "message_stop" }),
    ];
    let server = FakeModelServer::start(in_turn([
        streamed(&searched()),
        streamed(&paused),
        finish(),
    ]))
    .await;
    let rig = rig(&server, "anthropic/lead", "[search]\napi = \"provider\"\n");
    let events = rig
        .run(["run", "--events", "--bypass", "Which tokio is the latest?"])
        .await;
    let events = events.expect(0).stdout.clone();

    let requests = server.requests();
    let offered = searches(&requests[0]);
    assert_eq!(
        offered,
        [json!({ "type": "web_search_20250305", "name": "web_search", "max_uses": 8 })]
    );
    let expected = requests[1].messages();
    let answer = expected
        .iter()
        .find(|message| message["role"] == "assistant");
    assert_eq!(
        answer.unwrap()["content"],
        json!([
            { "type": "text", "text": "I look it up." },
            { "type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search",
              "input": { "query": "latest tokio" } },
            { "type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [
                { "type": "web_search_result", "title": "Tokio 1.54", "url": "https://tokio.example/154",
                  "encrypted_content": "c2VhbGVk", "page_age": null },
            ] },
            { "type": "text", "text": "It is 1.54.", "citations": [
                { "type": "web_search_result_location", "url": "https://tokio.example/154", "title": "Tokio 1.54",
                  "encrypted_index": "aW5kZXg=", "cited_text": "1.54 is out" },
            ] },
            { "type": "tool_use", "id": "toolu_1", "name": "list_tasks", "input": {} },
        ]),
        "the provider's blocks are unchanged"
    );
    let last = requests[2].messages().last().unwrap();
    assert_eq!(
        last["role"], "assistant",
        "a pause does not end the turn: the model is called again"
    );
    assert_eq!(last["content"][0]["id"], "srvtoolu_2");

    assert!(events.contains("\"web_search\""), "{events}");
    assert!(events.contains("https://tokio.example/154"), "{events}");
    let log = rig.run(["logs", "lead"]).await;
    log.expect(0)
        .assert_prints("● web_search(query: latest tokio)")
        .assert_prints("⎿ Tokio 1.54 https://tokio.example/154")
        .assert_prints("Sources:");
}

#[tokio::test]
async fn the_users_search_endpoint_is_called_with_its_key() {
    let script = |request: &Request| {
        let is_search = request.method == "GET";
        match request.path.split('?').next() {
            Some("/search") if is_search => Reply::json(
                200,
                &json!({ "query": "x", "number_of_results": 0, "results": [
                    { "title": "One", "url": "https://one.example/", "content": "first", "engine": "e", "score": 1.0 },
                    { "title": "Two", "url": "https://two.example/", "content": null },
                ], "answers": [], "suggestions": [] }),
            ),
            Some("/brave") if is_search => Reply::json(
                200,
                &json!({ "type": "search", "web": { "type": "search", "results": [
                    { "title": "Three", "url": "https://three.example/", "description": "third" },
                ] } }),
            ),
            _ if request.results().is_empty() => {
                Reply::call("web_search", json!({"query": "größe & mehr"}))
            }
            _ => finish(),
        }
    };
    let server = FakeModelServer::start(script).await;
    let own = server.base_url().trim_end_matches("/v1").to_owned();
    for (table, path, found, token) in [
        (
            format!("api = \"searxng\"\nurl = \"{own}/\"\n"),
            "/search?q=gr%C3%B6%C3%9Fe+%26+mehr&format=json",
            "One\nhttps://one.example/\nfirst\n\nTwo\nhttps://two.example/\n",
            None,
        ),
        (
            format!("api = \"brave\"\nurl = \"{own}/brave\"\nkey = \"SEARCH_KEY\"\n"),
            "/brave?q=gr%C3%B6%C3%9Fe+%26+mehr&count=10&text_decorations=false",
            "Three\nhttps://three.example/\nthird\n",
            Some("hunter2-of-the-search"),
        ),
    ] {
        let before = server.requests().len();
        let mut rig = rig(&server, "openai/lead", &format!("[search]\n{table}"));
        rig.set("SEARCH_KEY", "hunter2-of-the-search");
        rig.run(["run", "--bypass", "--secret", "SEARCH_KEY", "Look it up"])
            .await
            .expect(0);
        let requests = server.requests().split_off(before);
        let offered = searches(&requests[0]);
        assert_eq!(offered[0]["function"]["name"], "web_search");
        assert_eq!(requests[1].path, path);
        let sent = requests[1].headers.get("x-subscription-token");
        assert_eq!(sent.map(String::as_str), token);
        assert_eq!(requests[2].results()[0].1.trim_end(), found.trim_end());
    }
}

#[tokio::test]
async fn web_search_needs_a_backend_and_permission() {
    for (model, search, bypass, why) in [
        ("openai/lead", "", true, ""),
        // A proxy in front of the provider may not support the search.
        ("anthropic/lead", "", true, ""),
        (
            "anthropic/lead",
            "[search]\napi = \"provider\"\n",
            false,
            "",
        ),
        (
            "anthropic/lead",
            "deny_tools = [\"web_search\"]\n[search]\napi = \"provider\"\n",
            true,
            "",
        ),
        ("anthropic/lead", "[search]\napi = \"none\"\n", true, ""),
        (
            "openai/lead",
            "[search]\napi = \"provider\"\n",
            true,
            "- web_search: this model's provider has no supported search",
        ),
        (
            "openai/lead",
            "[search]\napi = \"brave\"\n",
            true,
            "- web_search: environment variable BRAVE_API_KEY is not set: pass --secret BRAVE_API_KEY",
        ),
    ] {
        let server = FakeModelServer::start(in_turn([finish()])).await;
        let rig = rig(&server, model, search);
        let run = match bypass {
            true => rig.run(["run", "--bypass", "Do it"]).await,
            false => rig.run(["run", "Do it"]).await,
        };
        run.expect(0);
        let request = &server.requests()[0];
        assert_eq!(searches(request), Vec::<Value>::new(), "{model} {search}");
        let situation = request.situation();
        assert!(situation.contains(why), "{situation}");
    }
}

#[tokio::test]
async fn an_unusable_search_response_is_explained() {
    for (reply, expected) in [
        (
            Reply::html(403, "<h1>Forbidden</h1>"),
            "returned 403 Forbidden (add json to search.formats in its settings)\n<h1>Forbidden</h1>",
        ),
        (Reply::html(200, "<html>"), "did not return JSON"),
        (
            Reply::json(200, &json!({"results": 3})),
            "returned JSON without results",
        ),
        (
            Reply::json(429, &json!({"error": "slow down"})),
            "returned 429",
        ),
        (
            Reply::html(200, &"x".repeat(5 << 20)).in_pieces_of(1 << 16),
            "returned too much data",
        ),
        (Reply::json(200, &json!({"results": []})), "(no results)"),
    ] {
        let call = || Reply::call("web_search", json!({"query": "tokio"}));
        let server = FakeModelServer::start(in_turn([call(), reply, finish()])).await;
        let own = server.base_url().trim_end_matches("/v1").to_owned();
        let table = format!("[search]\napi = \"searxng\"\nurl = \"{own}\"\n");
        let rig = rig(&server, "openai/lead", &table);
        rig.run(["run", "--bypass", "Look it up"]).await.expect(0);
        let result = server.requests()[2].results()[0].1.clone();
        assert!(result.contains(expected), "{expected}\n---\n{result}");
        assert!(result.len() < 1000, "{}", result.len());
    }
}
