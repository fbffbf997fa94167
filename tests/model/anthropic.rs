//! Anthropic's rules for thoughts, blocks and cache marks. `FakeAnthropic` enforces the rules.

use std::slice;

use agent_team_llm::{Answer, Item, Model, ModelError, Prompt, ToolCall, ToolResult, ToolSpec};
use agent_team_tests::fake_anthropic::{BLOCK_TOKENS, FakeAnthropic};
use agent_team_tests::fake_model_server::FakeModelServer;
use agent_team_tests::within;
use serde_json::{Value, json};

use crate::{input, model_at, tool};

const NAME: &str = "anthropic/claude-opus-5-5";

fn thinking(text: &str) -> Value {
    json!({ "type": "thinking", "thinking": text })
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn call(id: &str) -> Value {
    json!({ "type": "tool_use", "id": id, "name": "read", "input": { "path": id } })
}

fn answers(answers: impl IntoIterator<Item = Vec<Value>>) -> impl Future<Output = FakeModelServer> {
    let mut provider = FakeAnthropic::new(answers);
    FakeModelServer::start(move |request| provider.reply(request))
}

async fn ask(
    model: &dyn Model,
    system: &str,
    items: &[Item],
    tools: &[ToolSpec],
) -> Result<Answer, ModelError> {
    let prompt = Prompt {
        system,
        items,
        tools,
        search: false,
        effort: None,
    };
    within("an answer", model.answer(prompt, &mut drop)).await
}

/// The item as a restarted worker reads it from the stored transcript.
fn restored(item: &Item) -> Item {
    let json = serde_json::to_string(item).expect("JSON");
    serde_json::from_str(&json).expect("an item")
}

fn results(answer: &Answer) -> Item {
    let results = answer.calls.iter().map(|call| ToolResult {
        id: call.id.clone(),
        text: "42".to_owned(),
        failed: false,
        media: Vec::new(),
    });
    Item::Returned {
        results: results.collect(),
    }
}

/// The types of the blocks of a message.
fn kinds(message: &Value) -> Vec<&str> {
    let blocks = message["content"].as_array().expect("blocks").iter();
    blocks
        .map(|block| block["type"].as_str().unwrap_or(""))
        .collect()
}

/// Thoughts between text and calls, as an interleaved answer has them.
fn interleaved() -> Vec<Value> {
    vec![
        thinking("Which files?"),
        text("I read both."),
        thinking("First a."),
        json!({ "type": "redacted_thinking" }),
        call("a"),
        thinking("Then b."),
        call("b"),
    ]
}

const INTERLEAVED: [&str; 7] = [
    "thinking",
    "text",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "thinking",
    "tool_use",
];

#[tokio::test]
async fn interleaved_blocks_are_sent_back_in_order() {
    let server = answers([interleaved(), vec![text("Both are 42.")]]).await;
    let model = model_at(NAME, &server);
    let tools = [tool("read")];
    let mut items = vec![input("Read both")];
    let answer = ask(&*model, "You are ada.", &items, &tools).await;
    let answer = answer.expect("an answer");
    let thoughts: Vec<_> = answer.thoughts.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(thoughts, ["Which files?", "First a.", "Then b."]);
    let returned = results(&answer);
    items.extend([restored(&Item::Answered(answer)), returned]);
    let again = ask(&*model, "You are ada.", &items, &tools).await;
    again.expect("the provider accepts its own blocks");
    assert_eq!(kinds(&server.requests()[1].messages()[1]), INTERLEAVED);
}

#[tokio::test]
async fn claude_4_thinks_with_a_budget_from_the_next_input() {
    let thinks = || vec![thinking("Which files?"), call("b")];
    let replies = [vec![text("It is 42.")], thinks(), vec![text("Both are.")]];
    let server = answers(replies).await;
    let model = model_at("anthropic/claude-haiku-4-5", &server);
    let tools = [tool("read")];
    let foreign = Answer {
        calls: vec![ToolCall {
            id: "a".to_owned(),
            name: "read".to_owned(),
            input: "{}".to_owned(),
        }],
        ..Answer::default()
    };
    let returned = results(&foreign);
    let mut items = vec![input("Read a"), Item::Answered(foreign), returned];
    let first = ask(&*model, "You are ada.", &items, &tools).await;
    let first = first.expect("a turn of another model continues without thoughts");
    items.extend([Item::Answered(first), input("Read b")]);
    let second = ask(&*model, "You are ada.", &items, &tools).await;
    let second = second.expect("the next turn begins with a thought");
    let returned = results(&second);
    items.extend([Item::Answered(second), returned]);
    let third = ask(&*model, "You are ada.", &items, &tools).await;
    third.expect("the turn continues behind its thought");
    let requests = server.requests();
    let thinking = json!({ "type": "enabled", "budget_tokens": 8_192 });
    let sent = requests.iter().map(|it| &it.body["thinking"]);
    assert!(sent.eq([&Value::Null, &thinking, &thinking]));
    let beta = |at: usize| requests[at].headers.get("anthropic-beta").cloned();
    let between_calls = "interleaved-thinking-2025-05-14".to_owned();
    assert_eq!([beta(0), beta(1)], [None, Some(between_calls)]);
    let messages = requests[2].messages();
    assert_eq!(kinds(&messages[5]), ["thinking", "tool_use"]);
}

#[tokio::test]
async fn thoughts_after_a_changed_prefix_are_dropped() {
    let (before, read) = ("You are ada.", [tool("read")]);
    let both = [tool("read"), tool("grep")];
    let goal = input("Read both");
    let summary = input("Your own summary: the goal is to read both.");
    for (what, system, tools, first) in [
        ("system", "You are ada. Ben is new.", &read[..], &goal),
        ("tools", before, &both[..], &goal),
        ("messages", before, &read[..], &summary),
    ] {
        let later = vec![thinking("Another one."), call("c")];
        let server = answers([interleaved(), later, vec![text("All are 42.")]]).await;
        let model = model_at(NAME, &server);
        let answer = ask(&*model, before, slice::from_ref(&goal), &read).await;
        let answer = answer.expect("an answer");
        let returned = results(&answer);
        let mut items = vec![first.clone(), Item::Answered(answer), returned];
        let later = ask(&*model, system, &items, tools).await;
        let later = later.unwrap_or_else(|error| panic!("{what}: {error}"));
        let returned = results(&later);
        items.extend([Item::Answered(later), returned]);
        let last = ask(&*model, system, &items, tools).await;
        last.unwrap_or_else(|error| panic!("{what}: {error}"));
        let requests = server.requests();
        let messages = requests[2].messages();
        assert_eq!(kinds(&messages[1]), ["text", "tool_use", "tool_use"]);
        assert_eq!(kinds(&messages[3]), ["thinking", "tool_use"], "{what}");
    }
}

#[tokio::test]
async fn the_provider_refuses_a_moved_thought() {
    let server = answers([interleaved()]).await;
    let model = model_at(NAME, &server);
    let mut items = vec![input("Read both")];
    let answer = ask(&*model, "", &items, &[]).await;
    let mut answer = answer.expect("an answer");
    let returned = results(&answer);
    let verbatim = answer.verbatim.as_mut().expect("the provider's blocks");
    verbatim.blocks.swap(1, 2);
    items.extend([Item::Answered(answer), returned]);
    let error = ask(&*model, "", &items, &[]).await.expect_err("a refusal");
    let error = error.to_string();
    assert!(
        error.contains("bound to a different conversation"),
        "{error}"
    );
}

#[tokio::test]
async fn a_step_with_30_results_reads_the_cache() {
    let calls: Vec<_> = (0..30).map(|at| call(&format!("c{at}"))).collect();
    let server = answers([calls.clone(), calls, vec![text("ok")]]).await;
    let model = model_at(NAME, &server);
    let mut items = vec![input("Read all")];
    let mut cached = Vec::new();
    for _ in 0..3 {
        let answer = ask(&*model, "You are ada.", &items, &[tool("read")]).await;
        let answer = answer.expect("an answer");
        cached.push(answer.usage.cache_read / BLOCK_TOKENS);
        let returned = results(&answer);
        items.extend([Item::Answered(answer), returned]);
    }
    // The first request reads nothing from the cache. The second reads 2 blocks: the system text and the goal. The third
    // also reads the 30 calls and 30 results of the first step.
    assert_eq!(cached, [0, 2, 62]);
}
