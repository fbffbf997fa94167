//! OpenRouter's additions to Chat Completions, and the settings of `[providers.<name>]` that change requests.
//!
//! The replies are written by hand; none is a recording of OpenRouter.

use agent_team_llm::{Item, ToolResult};
use agent_team_protocol::spec::Wire;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, in_turn};
use serde_json::{Value, json};

use crate::{answer, config, first_answer, input, model_at, model_of, tool};

#[tokio::test]
async fn reasoning_details_are_sent_back_unchanged() {
    let piece = |details: Value| {
        json!({ "choices": [{ "delta": { "reasoning": "x", "reasoning_details": [details] } }] })
            .to_string()
    };
    let call = json!({ "choices": [{ "delta": { "tool_calls": [
        { "index": 0, "id": "c1", "function": { "name": "read", "arguments": "{}" } },
    ] }, "finish_reason": "tool_calls" }] });
    let events = [
        piece(json!({ "type": "reasoning.text", "index": 0, "text": "First ", "signature": null })),
        piece(json!({ "type": "reasoning.text", "index": 0, "text": "a." })),
        piece(json!({ "type": "reasoning.text", "index": 0, "text": "", "signature": "sig" })),
        piece(json!({ "type": "reasoning.encrypted", "index": 1, "data": "x0" })),
        call.to_string(),
        json!({ "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 2, "cost": 0.0125 } })
            .to_string(),
        "[DONE]".to_owned(),
    ];
    let events = events.each_ref().map(String::as_str);
    let replies = in_turn([
        Reply::events(&events),
        Reply::text("ok"),
        Reply::text("ok"),
        Reply::text("ok"),
    ]);
    let server = FakeModelServer::start(replies).await;
    let model = model_at("openrouter/anthropic/claude-opus-4.6", &server);
    let answered = first_answer(&*model).await.expect("an answer");
    assert_eq!(answered.usage.micro_usd, Some(12_500));
    let returned = Item::Returned {
        results: vec![ToolResult {
            id: "c1".to_owned(),
            text: "42".to_owned(),
            failed: false,
            media: Vec::new(),
        }],
    };
    let items = [input("Hello"), Item::Answered(answered), returned];
    for name in ["openrouter/anthropic/claude-opus-4.6", "openrouter/x/y"] {
        let (again, _) = answer(&*model_at(name, &server), &items, &[tool("read")]).await;
        again.expect("an answer");
    }
    let mut moved = items.clone();
    moved[0] = input("A summary");
    let (again, _) = answer(&*model, &moved, &[tool("read")]).await;
    again.expect("an answer");
    let requests = server.requests();
    let behind_another_prefix = requests[3].messages();
    assert_eq!(behind_another_prefix[2].get("reasoning_details"), None);
    let own = requests[1].messages();
    assert_eq!(
        own[2]["reasoning_details"],
        json!([
            { "type": "reasoning.text", "index": 0, "text": "First a.", "signature": "sig" },
            { "type": "reasoning.encrypted", "index": 1, "data": "x0" },
        ])
    );
    let is_marked = |message: &Value| message["content"][0]["cache_control"]["type"] == "ephemeral";
    let marked: Vec<_> = own.iter().map(is_marked).collect();
    assert_eq!(marked, [true, true, false, true]);
    let other = requests[2].messages();
    assert_eq!(other[2].get("reasoning_details"), None);
    assert_eq!(other[3]["content"], "42");
}

#[tokio::test]
async fn signatures_of_other_makers_outlast_another_prefix() {
    let details = |format: &str| {
        json!({ "choices": [{
            "delta": { "content": "ok", "reasoning_details": [
                { "type": "reasoning.encrypted", "index": 0, "data": "sig", "format": format },
            ] },
            "finish_reason": "stop",
        }] })
        .to_string()
    };
    for (format, is_kept) in [("google-gemini-v1", true), ("anthropic-claude-v1", false)] {
        let first = details(format);
        let replies = in_turn([Reply::events(&[&first, "[DONE]"]), Reply::text("ok")]);
        let server = FakeModelServer::start(replies).await;
        let model = model_at("openrouter/google/gemini-4-argon", &server);
        let answered = first_answer(&*model).await.expect("an answer");
        let moved = [input("A summary"), Item::Answered(answered), input("Go on")];
        let (again, _) = answer(&*model, &moved, &[]).await;
        again.expect("an answer");
        let requests = server.requests();
        let kept = requests[1].messages()[2].get("reasoning_details").cloned();
        assert_eq!(kept.is_some(), is_kept, "{format}: {kept:?}");
    }
}

#[tokio::test]
async fn provider_settings_change_the_request() {
    let replies = in_turn([Reply::text("ok").thinking("Hm.", ""), Reply::text("ok")]);
    let server = FakeModelServer::start(replies).await;
    let mut config = config(&server.base_url());
    let spec = config.providers.get_mut("openai").expect("its settings");
    spec.wire = Some(Wire::ChatCompletions);
    spec.reasoning_content = true;
    spec.extra_body = json!({ "service_tier": "flex", "reasoning_effort": "low" })
        .as_object()
        .expect("an object")
        .clone();
    let model = model_of("openai/gpt-5.6-sol", &config);
    let answered = first_answer(&*model).await.expect("an answer");
    let items = [input("Hello"), Item::Answered(answered), input("Go on")];
    let (again, _) = answer(&*model, &items, &[]).await;
    again.expect("an answer");
    let requests = server.requests();
    assert_eq!(requests[1].path, "/v1/chat/completions");
    assert_eq!(requests[1].messages()[2]["reasoning_content"], "Hm.");
    for (field, value) in [("service_tier", "flex"), ("reasoning_effort", "low")] {
        assert_eq!(requests[1].body[field], value);
    }
}

#[tokio::test]
async fn unusable_certificates_are_reported() {
    let mut config = config("https://127.0.0.1:9/v1");
    let spec = config.providers.get_mut("openai").expect("its settings");
    spec.ca = Some("no certificate".to_owned());
    let name = "openai/gpt-5.1".parse().expect("a model's name");
    let opened = agent_team_llm::open::open(&name, "ada", &config);
    let error = opened.expect_err("the text is unusable").to_string();
    assert_eq!(
        error,
        "cannot use the certificates (ca) of openai: the file contains none"
    );
}
