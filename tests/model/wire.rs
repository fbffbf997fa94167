//! The wires Chat Completions and Messages: requests and answers.

use agent_team_llm::open::OpenConfig;
use agent_team_llm::{Answer, Delta, Item, Stop, Thought, ToolCall, ToolResult, Usage};
use agent_team_protocol::value::Effort;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request, by_model, in_turn};
use serde_json::{Value, json};

use crate::{KEY, WIRES, answer, config, first_answer, input, model_at, model_of, text, tool};

const TEXT: &str = "Größe: 12 µm – „fertig“ 🦀🦀 ok";

#[tokio::test]
async fn an_answer_does_not_depend_on_chunk_boundaries() {
    for name in WIRES {
        let sizes = [1, 2, 3, 7, 64, 4096];
        let replies = sizes.map(|size| Reply::text(TEXT).in_pieces_of(size));
        let server = FakeModelServer::start(in_turn(replies)).await;
        let model = model_at(name, &server);
        for size in sizes {
            let (answered, deltas) = answer(&*model, &[input("Hello")], &[]).await;
            let answered = answered.expect("an answer");
            assert_eq!(answered.text, TEXT, "{name} {size}");
            assert_eq!(text(&deltas), TEXT, "{name} {size}");
            assert!(deltas.len() > 1, "deltas arrive while the answer streams");
            assert_eq!(answered.stop, Stop::Finished);
        }
    }
}

#[tokio::test]
async fn interleaved_parts_of_parallel_calls_are_assembled() {
    let paths = [
        json!({ "path": "ä/b.txt" }),
        json!({ "path": "c \"d\".txt" }),
    ];
    for name in WIRES {
        let [first, second] = paths.clone();
        let reply = Reply::text("I look.")
            .and_call("read", first)
            .and_call("grep", second);
        let server = FakeModelServer::start(in_turn([reply])).await;
        let (answered, deltas) = answer(&*model_at(name, &server), &[input("Look")], &[]).await;
        let answered = answered.expect("an answer");
        assert_eq!(
            (answered.stop, answered.text.as_str()),
            (Stop::Calls, "I look.")
        );
        let names: Vec<_> = answered
            .calls
            .iter()
            .map(|call| call.name.as_str())
            .collect();
        assert_eq!(names, ["read", "grep"]);
        for (call, path) in answered.calls.iter().zip(&paths) {
            let input: Value = serde_json::from_str(&call.input).expect("JSON");
            assert_eq!(&input, path, "{name}");
            let deltas = deltas.iter().filter_map(|delta| match delta {
                Delta::Input { id, fragment } if *id == call.id => Some(fragment.as_str()),
                _ => None,
            });
            assert_eq!(deltas.collect::<String>(), call.input, "{name}");
        }
    }
}

#[tokio::test]
async fn cached_tokens_are_counted_as_input() {
    for name in WIRES {
        let replies = in_turn([Reply::text("ok").tokens(1_000, 20, 600)]);
        let server = FakeModelServer::start(replies).await;
        let answered = first_answer(&*model_at(name, &server)).await;
        let usage = Usage {
            input: 1_000,
            output: 20,
            cache_read: 600,
            ..Usage::default()
        };
        assert_eq!(answered.expect("an answer").usage, usage, "{name}");
    }
}

#[tokio::test]
async fn stop_reasons_are_distinguished() {
    for (name, reason, stop) in [
        ("openai/m", "stop", Stop::Finished),
        ("openai/m", "length", Stop::Length),
        ("openai/m", "content_filter", Stop::Refused),
        ("anthropic/m", "stop_sequence", Stop::Finished),
        ("anthropic/m", "max_tokens", Stop::Length),
        ("anthropic/m", "refusal", Stop::Refused),
    ] {
        let server = FakeModelServer::start(in_turn([Reply::text("so").stop(reason)])).await;
        let answered = first_answer(&*model_at(name, &server)).await;
        assert_eq!(answered.expect("an answer").stop, stop, "{name} {reason}");
    }
    // Some servers send the stop reason `stop` although the answer contains calls.
    let call = Reply::call("read", json!({})).stop("stop");
    let server = FakeModelServer::start(in_turn([call])).await;
    let answered = first_answer(&*model_at("openai/m", &server)).await;
    assert_eq!(answered.expect("an answer").stop, Stop::Calls);
}

/// A transcript with every kind of item.
fn transcript() -> Vec<Item> {
    let call = |id: &str, input: &str| ToolCall {
        id: id.to_owned(),
        name: "read".to_owned(),
        input: input.to_owned(),
    };
    let result = |id: &str, text: &str, failed| ToolResult {
        id: id.to_owned(),
        text: text.to_owned(),
        failed,
        media: Vec::new(),
    };
    vec![
        input("Read both"),
        Item::Answered(Answer {
            text: "Yes.".to_owned(),
            calls: vec![call("c1", r#"{"path":"a"}"#), call("c2", "{\"path\":")],
            stop: Stop::Calls,
            ..Answer::default()
        }),
        Item::Returned {
            results: vec![result("c1", "42", false), result("c2", "no JSON", true)],
        },
        input("And be quick"),
        input("Please"),
    ]
}

#[tokio::test]
async fn a_transcript_is_sent_in_the_format_of_each_api() {
    for (name, path, key) in [
        (
            "openai/m",
            "/v1/chat/completions",
            ("authorization", format!("Bearer {KEY}")),
        ),
        ("anthropic/m", "/v1/messages", ("x-api-key", KEY.to_owned())),
    ] {
        let server = FakeModelServer::start(in_turn([Reply::text("ok")])).await;
        let mut with_header = config(&server.base_url());
        for spec in with_header.providers.values_mut() {
            spec.headers.insert("X-Gate".to_owned(), "open".to_owned());
        }
        let model = model_of(name, &with_header);
        let (answered, _) = answer(&*model, &transcript(), &[tool("read"), tool("grep")]).await;
        answered.expect("an answer");
        let [request] = &server.requests()[..] else {
            panic!("not one request")
        };
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("POST", path)
        );
        assert_eq!(request.headers.get(key.0), Some(&key.1));
        assert_eq!(request.headers["x-gate"], "open");
        assert_eq!(request.model(), "m");
        assert_eq!(request.system(), "You are ada.");
        assert_eq!(request.tools(), ["read", "grep"]);
        let results: Vec<_> = request.results().into_iter().map(|(id, _)| id).collect();
        assert_eq!(results, ["c1", "c2"], "{name}");
        assert!(
            request.last_input().ends_with("Please"),
            "{name}: {}",
            request.last_input()
        );
        // Arguments that did not parse are sent back as valid JSON.
        let body = request.body.to_string();
        assert!(body.contains("unparsable"), "{body}");
    }
}

#[tokio::test]
async fn each_api_gets_its_own_message_format() {
    let server = FakeModelServer::start(in_turn([Reply::text("ok"), Reply::text("ok")])).await;
    for name in WIRES {
        let (answered, _) = answer(&*model_at(name, &server), &transcript(), &[]).await;
        answered.expect("an answer");
    }
    let [chat, messages] = &server.requests()[..] else {
        panic!("not two requests")
    };
    let roles = |messages: &[Value]| -> Vec<String> {
        let roles = messages.iter().map(|message| message["role"].as_str());
        roles.map(|role| role.unwrap_or("").to_owned()).collect()
    };
    assert_eq!(
        roles(chat.messages()),
        ["system", "user", "assistant", "tool", "tool", "user"]
    );
    assert_eq!(chat.messages()[4]["content"], "error: no JSON");
    assert_eq!(chat.body["stream_options"]["include_usage"], true);

    assert_eq!(roles(messages.messages()), ["user", "assistant", "user"]);
    let content = &messages.messages()[2]["content"];
    assert_eq!(content[0]["type"], "tool_result");
    assert_eq!(content[1]["is_error"], true);
    assert_eq!(content[3]["cache_control"]["type"], "ephemeral");
    assert_eq!(messages.headers["anthropic-version"], "2023-06-01");
}

#[tokio::test]
async fn mistral_receives_user_text_within_the_last_result() {
    let server = FakeModelServer::start(in_turn([Reply::text("ok")])).await;
    let (answered, _) = answer(&*model_at("mistral/m", &server), &transcript(), &[]).await;
    answered.expect("an answer");
    let requests = server.requests();
    let last = requests[0].messages().last().expect("a message");
    assert_eq!(last["role"], "tool");
    assert_eq!(last["content"], "error: no JSON\n\nAnd be quick\n\nPlease");
    assert_eq!(requests[0].body.get("stream_options"), None);
}

#[tokio::test]
async fn thoughts_are_sent_back_only_to_their_own_model() {
    let replies = in_turn([
        Reply::call("read", json!({ "path": "a" })).thinking("Hm, a.", "sig=="),
        Reply::text("ok"),
        Reply::text("ok"),
    ]);
    let server = FakeModelServer::start(replies).await;
    let model = model_at("anthropic/m", &server);
    let answered = first_answer(&*model).await.expect("an answer");
    assert_eq!(
        answered.thoughts,
        [Thought {
            text: "Hm, a.".to_owned(),
            signature: None,
            by: "anthropic/m".to_owned(),
        }]
    );
    let items = [input("Hello"), Item::Answered(answered)];
    for name in ["anthropic/m", "anthropic/other"] {
        let (again, _) = answer(&*model_at(name, &server), &items, &[tool("read")]).await;
        again.expect("an answer");
    }
    let requests = server.requests();
    assert_eq!(
        requests[1].messages()[1]["content"][0],
        json!({ "type": "thinking", "thinking": "Hm, a.", "signature": "sig==" })
    );
    assert_eq!(requests[2].messages()[1]["content"][0]["type"], "tool_use");
}

#[tokio::test]
async fn encrypted_thoughts_are_sent_back_unchanged() {
    let replies = in_turn([
        Reply::events(&[
            r#"{"type":"message_start","message":{"usage":{"input_tokens":3}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"x0"}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":"ok"}}"#,
            r#"{"type":"added_later","what":1}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
            r#"{"type":"message_stop"}"#,
        ]),
        Reply::text("ok"),
    ]);
    let server = FakeModelServer::start(replies).await;
    let model = model_at("anthropic/m", &server);
    let answered = first_answer(&*model).await.expect("an answer");
    let items = [input("Hello"), Item::Answered(answered), input("Go on")];
    let again = answer(&*model, &items, &[tool("read")]).await;
    again.0.expect("an answer");
    let requests = server.requests();
    let block = &requests[1].messages()[1]["content"][0];
    assert_eq!(*block, json!({ "type": "redacted_thinking", "data": "x0" }));
}

#[tokio::test]
async fn geminis_calls_are_distinguished_and_keep_their_signatures() {
    let chunk = |id: &str, extra: &str| {
        format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":0,"id":"{id}","type":"function",
            "function":{{"name":"read","arguments":"{{\"path\":\"{id}\"}}"}}{extra}}}]}}}}]}}"#
        )
        .replace('\n', "")
    };
    let signed = r#","extra_content":{"google":{"thought_signature":"sig"}}"#;
    let events = [
        chunk("a", signed),
        chunk("b", ""),
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":17}}"#.to_owned(),
    ];
    let events = events.each_ref().map(String::as_str);
    let replies = in_turn([Reply::events(&events), Reply::text("ok")]);
    let server = FakeModelServer::start(replies).await;
    let model = model_at("gemini/m", &server);
    let answered = first_answer(&*model).await.expect("an answer");
    let calls: Vec<_> = answered.calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!((calls, answered.stop), (vec!["a", "b"], Stop::Calls));
    assert_eq!(answered.usage.output, 12, "thoughts are counted");

    let items = [input("Hello"), Item::Answered(answered)];
    answer(&*model, &items, &[]).await.0.expect("an answer");
    let requests = server.requests();
    let calls = &requests[1].messages()[2]["tool_calls"];
    assert_eq!(
        calls[0]["extra_content"]["google"]["thought_signature"],
        "sig"
    );
    assert_eq!(calls[1].get("extra_content"), None);
}

#[tokio::test]
async fn calls_get_unique_ids_from_any_server() {
    let call = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"call_0","function":{"name":"read","arguments":{"path":"a"}}}]},"finish_reason":"tool_calls"}]}"#;
    let nameless = r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"read"}}]},"finish_reason":"tool_calls"}]}"#;
    let replies = [call, call, nameless].map(|event| Reply::events(&[event, "[DONE]"]));
    let server = FakeModelServer::start(in_turn(replies)).await;
    let model = model_at("openai/m", &server);
    let mut items = vec![input("Hello")];
    let mut ids = Vec::new();
    for input in [r#"{"path":"a"}"#, r#"{"path":"a"}"#, "{}"] {
        let (answered, _) = answer(&*model, &items, &[]).await;
        let answered = answered.expect("an answer");
        assert_eq!(answered.calls[0].input, input);
        ids.push(answered.calls[0].id.clone());
        items.push(Item::Answered(answered));
    }
    assert_eq!(ids, ["call_0", "call-2-0", "call-3-0"]);
}

#[tokio::test]
async fn invalid_arguments_are_passed_on_unchanged() {
    for name in WIRES {
        let reply = Reply::text("").and_raw_call("read", "{\"path\": oops");
        let server = FakeModelServer::start(in_turn([reply])).await;
        let answered = first_answer(&*model_at(name, &server)).await;
        assert_eq!(
            answered.expect("an answer").calls[0].input,
            "{\"path\": oops"
        );
    }
}

#[tokio::test]
async fn models_at_one_server_are_distinguished() {
    let script = by_model([
        ("lead", vec![Reply::text("one"), Reply::text("two")]),
        ("worker", vec![Reply::text("three")]),
    ]);
    let server = FakeModelServer::start(script).await;
    for (name, text) in [
        ("openai/worker", "three"),
        ("openai/lead", "one"),
        ("openai/lead", "two"),
    ] {
        let answered = first_answer(&*model_at(name, &server)).await;
        assert_eq!(answered.expect("an answer").text, text);
    }
    let over = first_answer(&*model_at("openai/worker", &server)).await;
    over.expect_err("the script has no more replies for this model");
}

#[tokio::test]
async fn the_effort_is_sent_in_the_field_of_each_api() {
    let cases = [
        (
            "anthropic/claude-opus-5-5",
            Some(Effort::High),
            json!({
                "thinking": { "type": "adaptive", "display": "summarized" },
                "output_config": { "effort": "high" },
            }),
        ),
        (
            "anthropic/claude-sonnet-4-5",
            Some(Effort::High),
            json!({ "thinking": { "type": "enabled", "budget_tokens": 16_384 } }),
        ),
        ("anthropic/claude-haiku-4-5", Some(Effort::None), json!({})),
        ("anthropic/claude-3-5-haiku", Some(Effort::High), json!({})),
        (
            "openai/gpt-5.1",
            None,
            json!({ "reasoning_effort": "medium" }),
        ),
        ("openai/gpt-4.1", Some(Effort::High), json!({})),
        (
            "gemini/gemini-2.5-pro",
            Some(Effort::Max),
            json!({ "reasoning_effort": "high" }),
        ),
        (
            "openrouter/x/y",
            Some(Effort::Low),
            json!({ "reasoning": { "effort": "low" } }),
        ),
        (
            "deepseek/deepseek-flash",
            Some(Effort::None),
            json!({ "thinking": { "type": "disabled" } }),
        ),
        (
            "deepseek/deepseek-v4-pro",
            Some(Effort::Max),
            json!({ "thinking": { "type": "enabled" }, "reasoning_effort": "max" }),
        ),
        (
            "deepseek/deepseek-flash",
            None,
            json!({ "thinking": { "type": "enabled" }, "reasoning_effort": "high" }),
        ),
        (
            "moonshot/kimi-k2.6",
            Some(Effort::None),
            json!({ "thinking": { "type": "disabled" } }),
        ),
        (
            "moonshot/kimi-k2.6",
            Some(Effort::Max),
            json!({ "thinking": { "type": "enabled" } }),
        ),
        ("moonshot/kimi-k2.7-code", Some(Effort::Max), json!({})),
        (
            "moonshot/kimi-k3.1-pro",
            Some(Effort::None),
            json!({ "reasoning_effort": "low" }),
        ),
        (
            "moonshot/kimi-k3",
            None,
            json!({ "reasoning_effort": "high" }),
        ),
        (
            "zai/glm-5.1",
            Some(Effort::None),
            json!({ "thinking": { "type": "disabled" } }),
        ),
        (
            "zai/glm-5.2",
            Some(Effort::Max),
            json!({ "thinking": { "type": "enabled" }, "reasoning_effort": "max" }),
        ),
        (
            "zai/glm-5.3",
            Some(Effort::None),
            json!({ "reasoning_effort": "low" }),
        ),
        (
            "alibaba/qwen3.8-max",
            Some(Effort::None),
            json!({ "enable_thinking": false }),
        ),
        (
            "alibaba/qwen3.7-plus",
            Some(Effort::Low),
            json!({ "enable_thinking": true, "thinking_budget": 4_096 }),
        ),
        (
            "alibaba/qwen3.8-max",
            Some(Effort::Max),
            json!({ "enable_thinking": true }),
        ),
        (
            "xai/grok-4.7",
            Some(Effort::Max),
            json!({ "reasoning_effort": "xhigh" }),
        ),
        ("ollama/qwen3", None, json!({})),
        (
            "ollama/qwen3",
            Some(Effort::None),
            json!({ "reasoning_effort": "none" }),
        ),
    ];
    let server = FakeModelServer::start(|_: &Request| Reply::text("ok")).await;
    for (name, effort, expected) in cases {
        let config = OpenConfig {
            effort,
            ..config(&server.base_url())
        };
        let answered = first_answer(&*model_of(name, &config)).await;
        answered.expect("an answer");
        let requests = server.requests();
        let mut sent = requests.last().expect("a request").body.clone();
        let fields = [
            "thinking",
            "output_config",
            "reasoning_effort",
            "reasoning",
            "enable_thinking",
            "thinking_budget",
        ];
        let body = sent.as_object_mut().expect("an object");
        body.retain(|field, _| fields.contains(&field.as_str()));
        assert_eq!(sent, expected, "{name} {effort:?}");
    }
}
