//! OpenAI's Responses API. `FakeResponses` enforces the provider's rules.

use agent_team_llm::{Item, Stop, ToolResult, Usage};
use agent_team_tests::fake_model_server::{FakeModelServer, Reply};
use agent_team_tests::fake_responses::FakeResponses;
use serde_json::{Value, json};

use crate::{answer, input, model_at, tool};

const NAME: &str = "openai/gpt-5.6-sol";

fn reasoning(id: &str) -> Value {
    json!({
        "id": id, "type": "reasoning", "encrypted_content": format!("sealed-{id}"),
        "summary": [{ "type": "summary_text", "text": "Both files." }],
    })
}

fn call(id: &str) -> Value {
    json!({
        "id": format!("fc_{id}"), "type": "function_call", "call_id": format!("call_{id}"),
        "name": "read", "arguments": format!("{{\"path\":\"{id}\"}}"), "status": "completed",
    })
}

fn message(text: &str) -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "phase": "final_answer",
        "content": [{ "type": "output_text", "text": text, "annotations": [] }],
    })
}

fn results(ids: &[&str]) -> Item {
    let results = ids.iter().map(|id| ToolResult {
        id: format!("call_{id}"),
        text: "42".to_owned(),
        failed: false,
        media: Vec::new(),
    });
    Item::Returned {
        results: results.collect(),
    }
}

fn server(answers: Vec<Vec<Value>>) -> impl Future<Output = FakeModelServer> {
    let mut provider = FakeResponses::new(answers);
    FakeModelServer::start(move |request| provider.reply(request))
}

#[tokio::test]
async fn reasoning_and_parallel_calls_are_sent_back_in_order() {
    let step = vec![reasoning("rs_1"), call("a"), call("b")];
    let last = vec![reasoning("rs_2"), message("Both are 42.")];
    let server = server(vec![step.clone(), last, vec![message("Yes.")]]).await;
    let model = model_at(NAME, &server);
    let mut items = vec![input("Read both")];
    let (first, _) = answer(&*model, &items, &[tool("read")]).await;
    let first = first.expect("an answer");
    assert_eq!(first.stop, Stop::Calls);
    assert_eq!(first.thoughts[0].text, "Both files.");
    assert_eq!(first.calls[1].input, r#"{"path":"b"}"#);
    let usage = Usage {
        input: 100,
        output: 10,
        cache_read: 60,
        ..Usage::default()
    };
    assert_eq!(first.usage, usage);
    // After a restart, the answer comes from the stored transcript.
    let json = serde_json::to_string(&Item::Answered(first)).expect("JSON");
    let first = serde_json::from_str(&json).expect("an item");
    items.extend([first, results(&["a", "b"])]);
    let (second, _) = answer(&*model, &items, &[tool("read")]).await;
    let second = second.expect("the provider accepts its own items");
    assert_eq!(
        (second.text.as_str(), second.stop),
        ("Both are 42.", Stop::Finished)
    );
    items.extend([Item::Answered(second), input("Sure?")]);
    let (third, _) = answer(&*model, &items, &[tool("read")]).await;
    third.expect("the provider accepts its own items");
    let requests = server.requests();
    let body = &requests[1].body;
    assert_eq!(body["input"].as_array().expect("items")[1..4], step);
    assert_eq!(
        (&body["store"], &body["parallel_tool_calls"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(body["instructions"], "You are ada.");
    assert_eq!(body["reasoning"]["effort"], "medium");
    assert_eq!(
        body["prompt_cache_key"],
        requests[2].body["prompt_cache_key"]
    );
}

#[tokio::test]
async fn the_provider_refuses_a_call_without_its_reasoning() {
    let server = server(vec![vec![reasoning("rs_1"), call("a")]]).await;
    let model = model_at(NAME, &server);
    let (first, _) = answer(&*model, &[input("Read a")], &[tool("read")]).await;
    let mut first = first.expect("an answer");
    let verbatim = first.verbatim.as_mut().expect("the provider's items");
    verbatim.blocks.remove(0);
    let items = [input("Read a"), Item::Answered(first), results(&["a"])];
    let (refused, _) = answer(&*model, &items, &[tool("read")]).await;
    let error = refused.expect_err("a refusal").to_string();
    assert!(
        error.contains("without its required 'reasoning' item"),
        "{error}"
    );
}

#[tokio::test]
async fn a_truncated_answer_keeps_no_reasoning_at_its_end() {
    let item = json!({ "type": "response.output_item.done", "output_index": 0, "item": reasoning("rs_1") });
    let end = json!({ "type": "response.incomplete", "response": {
        "usage": { "input_tokens": 1, "output_tokens": 1 },
        "incomplete_details": { "reason": "max_output_tokens" },
    } });
    let (item, end) = (item.to_string(), end.to_string());
    let reply = Reply::events(&[&item, &end]);
    let server = FakeModelServer::start(move |_| reply.clone()).await;
    let (answered, _) = answer(&*model_at(NAME, &server), &[input("Go")], &[]).await;
    let answered = answered.expect("an answer");
    assert_eq!((answered.stop, answered.verbatim), (Stop::Length, None));
}

#[tokio::test]
async fn a_truncated_call_is_rebuilt_for_the_next_request() {
    let mut begun = call("b");
    begun["arguments"] = "".into();
    let events = [
        json!({ "type": "response.output_item.added", "output_index": 0, "item": call("a") }),
        json!({ "type": "response.output_item.done", "output_index": 0, "item": call("a") }),
        json!({ "type": "response.output_item.added", "output_index": 1, "item": begun }),
        json!({ "type": "response.incomplete", "response": {
            "usage": { "input_tokens": 1, "output_tokens": 1 },
            "incomplete_details": { "reason": "max_output_tokens" },
        } }),
    ];
    let events = events.map(|event| event.to_string());
    let reply = Reply::events(&events.each_ref().map(String::as_str));
    let server = FakeModelServer::start(move |_| reply.clone()).await;
    let model = model_at(NAME, &server);
    let (answered, _) = answer(&*model, &[input("Go")], &[tool("read")]).await;
    let answered = answered.expect("an answer");
    assert_eq!((answered.calls.len(), &answered.verbatim), (2, &None));
    let items = [input("Go"), Item::Answered(answered), results(&["a", "b"])];
    let (again, _) = answer(&*model, &items, &[tool("read")]).await;
    again.expect("an answer");
    let requests = server.requests();
    let input = &requests[1].body["input"];
    assert_eq!(input[1]["call_id"], "call_a");
    assert_eq!(input[2]["call_id"], "call_b");
    assert_eq!(input[3]["type"], "function_call_output");
}

#[tokio::test]
async fn older_models_and_other_providers_use_chat_completions() {
    let reply = Reply::text("ok");
    let server = FakeModelServer::start(move |_| reply.clone()).await;
    for name in [
        "openai/gpt-5.1",
        "openai/gpt-4.1",
        "openrouter/openai/gpt-5.6",
    ] {
        let (answered, _) =
            answer(&*model_at(name, &server), &[input("Go")], &[tool("read")]).await;
        answered.expect("an answer");
        let requests = server.requests();
        let last = requests.last().expect("a request");
        assert_eq!(last.path, "/v1/chat/completions", "{name}");
    }
}
