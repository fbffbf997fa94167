//! Gemini's thought signatures over Google's implementation of Chat Completions. `fake_gemini` enforces the rule.
//!
//! Rule from ai.google.dev/gemini-api/docs/thought-signatures, read in November 2026: Gemini 3 and later refuse a request
//! in which the first call of a step of the current turn has no signature. `skip_thought_signature_validator` replaces
//! the signature of a call that another model made.

use agent_team_llm::{Item, ToolResult};
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request};
use serde_json::{Value, json};

use crate::{answer, first_answer, input, model_at, tool};

/// If the request contains no calls, answers with a signed call. Refuses a request in which the first call of a message
/// has no accepted signature.
fn fake_gemini(request: &Request) -> Reply {
    let messages = request.messages();
    let calls = messages
        .iter()
        .filter_map(|message| message["tool_calls"].as_array());
    let signatures =
        calls.map(|calls| calls[0]["extra_content"]["google"]["thought_signature"].as_str());
    let accepted = [Some("sig"), Some("skip_thought_signature_validator")];
    let signatures: Vec<_> = signatures.collect();
    if signatures
        .iter()
        .any(|signature| !accepted.contains(signature))
    {
        return Reply::error(
            400,
            "Function call is missing a thought_signature in functionCall parts.",
        );
    }
    match signatures.is_empty() {
        true => call(json!({ "extra_content": { "google": { "thought_signature": "sig" } } })),
        false => Reply::text("ok"),
    }
}

/// A reply with one call and these additional fields.
fn call(more: Value) -> Reply {
    let mut call =
        json!({ "index": 0, "id": "c1", "function": { "name": "read", "arguments": "{}" } });
    for (field, value) in more.as_object().into_iter().flatten() {
        call[field] = value.clone();
    }
    let event = json!({ "choices": [{ "delta": { "tool_calls": [call] }, "finish_reason": "tool_calls" }] });
    Reply::events(&[&event.to_string(), "[DONE]"])
}

fn returned() -> Item {
    Item::Returned {
        results: vec![ToolResult {
            id: "c1".to_owned(),
            text: "42".to_owned(),
            failed: false,
            media: Vec::new(),
        }],
    }
}

#[tokio::test]
async fn gemini_gets_its_signatures_back() {
    let server = FakeModelServer::start(fake_gemini).await;
    let model = model_at("gemini/gemini-3.8-flash", &server);
    let answered = first_answer(&*model).await.expect("an answer");
    // Send the items after another prefix, as after a compaction.
    let items = [input("A summary"), Item::Answered(answered), returned()];
    let (again, _) = answer(&*model, &items, &[tool("read")]).await;
    again.expect("the signature is kept");
}

#[tokio::test]
async fn calls_of_other_models_are_marked_for_gemini() {
    let other = FakeModelServer::start(|_: &Request| call(json!({}))).await;
    let foreign = first_answer(&*model_at("openai/gpt-4.1", &other)).await;
    let items = [
        input("Hello"),
        Item::Answered(foreign.expect("an answer")),
        returned(),
    ];
    let server = FakeModelServer::start(fake_gemini).await;
    let model = model_at("gemini/gemini-3.8-flash", &server);
    let (again, _) = answer(&*model, &items, &[tool("read")]).await;
    again.expect("the call is marked");
    // Earlier models need no signature, so the call has none. The fake ignores the model's name and refuses the call.
    let old = model_at("gemini/gemini-2.5-pro", &server);
    answer(&*old, &items, &[])
        .await
        .0
        .expect_err("a refusal of the call without a signature");
}
