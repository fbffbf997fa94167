//! Recorded exchanges are replayed unchanged, or the difference is reported.

use std::path::Path;
use std::time::Duration;

use agent_team_llm::recording::{Recorder, Replay};
use agent_team_llm::{Answer, Delta, Item, Model, ToolResult};
use agent_team_protocol::with_causes;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request, in_turn};
use serde_json::{Value, json};

use crate::{answer, input, model_at, tool};

/// Makes three exchanges with this model; returns the answers.
async fn converse(model: &dyn Model, word: &str) -> Vec<Answer> {
    let mut items = vec![input(word)];
    let mut answers = Vec::new();
    for _ in 0..3 {
        let (answered, _) = answer(model, &items, &[tool("read")]).await;
        let answered = answered.expect("an answer");
        let results = answered.calls.iter().map(|call| ToolResult {
            id: call.id.clone(),
            text: word.to_owned(),
            failed: false,
            media: Vec::new(),
        });
        let results: Vec<_> = results.collect();
        items.push(Item::Answered(answered.clone()));
        items.push(match results.is_empty() {
            true => input(word),
            false => Item::Returned { results },
        });
        answers.push(answered);
    }
    answers
}

fn script() -> [Reply; 4] {
    [
        Reply::call("read", json!({ "path": "a" })),
        Reply::text("It holds to-ken \"x\".").thinking("Hm.", "sig"),
        Reply::text("Done."),
        Reply::error(400, "prompt is too long"),
    ]
}

async fn record(file: &Path, member: &str, word: &str) -> Vec<Answer> {
    let server = FakeModelServer::start(in_turn(script())).await;
    let model = model_at("anthropic/claude-m", &server);
    let secrets = vec!["to-ken \"x\"".to_owned(), String::new()];
    let recorder = Recorder::open(model, file, member, secrets).expect("the file can be written");
    converse(&recorder, word).await
}

fn replay(file: &Path, member: &str) -> Replay {
    Replay::open(file, member).expect("the file is a recording")
}

/// The answers as the file contains them: with a placeholder for the secret.
fn hidden(answers: Vec<Answer>) -> Vec<Answer> {
    let hide = |answer: Answer| {
        let json = serde_json::to_string(&answer).expect("JSON");
        let hidden = json.replace(r#"to-ken \"x\""#, "[secret]");
        serde_json::from_str(&hidden).expect("an answer")
    };
    answers.into_iter().map(hide).collect()
}

#[tokio::test]
async fn each_member_replays_its_own_recorded_exchanges() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("run.jsonl");
    let (ada, bob) = tokio::join!(record(&file, "ada", "one"), record(&file, "bob", "two"));
    // The text of the input does not change the replayed answers.
    assert_eq!(converse(&replay(&file, "ada"), "three").await, hidden(ada));
    assert_eq!(converse(&replay(&file, "bob"), "two").await, hidden(bob));

    let text = std::fs::read_to_string(&file).expect("the file exists");
    assert!(!text.contains("to-ken"), "{text}");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines[0], json!({ "recording": "agent-team", "version": 1 }));
    assert_eq!(lines.len(), 7);
    let model = replay(&file, "ada");
    assert_eq!(model.window(), 200_000, "as large as the recorded model's");
}

#[tokio::test]
async fn a_recorded_context_overflow_is_replayed() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("run.jsonl");
    let server = FakeModelServer::start(in_turn(script())).await;
    let model = model_at("openai/m", &server);
    let recorder =
        Recorder::open(model, &file, "ada", Vec::new()).expect("the file can be written");
    let replayed = replay_after(&recorder).await;
    assert_eq!(replay_after(&replay(&file, "ada")).await, replayed);
    assert!(
        replayed.starts_with("the conversation is longer"),
        "{replayed}"
    );
}

async fn replay_after(model: &dyn Model) -> String {
    converse(model, "one").await;
    let (error, _) = answer(model, &[input("one")], &[tool("read")]).await;
    error.expect_err("the prompt is too long").to_string()
}

#[tokio::test]
async fn an_interrupted_answer_is_played_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("run.jsonl");
    let answers = hidden(record(&file, "ada", "one").await);
    tokio::time::pause();
    let model = replay(&file, "ada").at_speed(Some("10".parse().expect("a speed")));
    let mut items = vec![input("one")];
    let tools = [tool("read")];
    let interrupted =
        tokio::time::timeout(Duration::from_millis(1500), answer(&model, &items, &tools));
    assert!(interrupted.await.is_err(), "the answer takes longer");
    let (again, _) = answer(&model, &items, &tools).await;
    assert_eq!(again.expect("an answer"), answers[0]);

    let results = Vec::new();
    items.extend([
        Item::Answered(answers[0].clone()),
        Item::Returned { results },
    ]);
    let began = tokio::time::Instant::now();
    let (_, deltas) = answer(&model, &items, &tools).await;
    let words = deltas
        .iter()
        .filter(|delta| matches!(delta, Delta::Text(_)));
    assert_eq!(words.count(), answers[1].text.split(' ').count());
    assert!(
        began.elapsed() > Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_restarted_member_resumes_its_replay() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("run.jsonl");
    let answers = hidden(record(&file, "ada", "one").await);
    let items = [
        input("one"),
        Item::Answered(answers[0].clone()),
        Item::Returned {
            results: Vec::new(),
        },
    ];
    let (again, _) = answer(&replay(&file, "ada"), &items, &[tool("read")]).await;
    assert_eq!(again.expect("an answer"), answers[1]);

    // A restarted recorder appends to the recording.
    record(&file, "ada", "one").await;
    let text = std::fs::read_to_string(&file).expect("the file exists");
    let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["exchange"], 6);
}

#[tokio::test]
async fn a_restarted_member_resumes_its_replay_after_compaction() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("run.jsonl");
    let words = ["zero", "one", "In short: zero, one.", "two", "three"];
    let server = FakeModelServer::start(in_turn(words.map(Reply::text))).await;
    let model = model_at("openai/m", &server);
    let recorder =
        Recorder::open(model, &file, "ada", Vec::new()).expect("the file can be written");
    let tools = [tool("read")];
    let ask = async |model: &dyn Model, items: &[Item], tools: &[_]| {
        let (answered, _) = answer(model, items, tools).await;
        answered.expect("an answer")
    };
    let mut items = vec![input("goal")];
    for _ in 0..2 {
        let answered = ask(&recorder, &items, &tools).await;
        items.extend([Item::Answered(answered), input("go on")]);
    }
    let summary = ask(&recorder, &[input("goal zero one")], &[]).await;
    let mut items = vec![input(&format!("What happened before:\n{}", summary.text))];
    let shortened = items.clone();
    for _ in 0..2 {
        let answered = ask(&recorder, &items, &tools).await;
        items.extend([Item::Answered(answered), input("go on")]);
    }
    let again = ask(&replay(&file, "ada"), &shortened, &tools).await;
    assert_eq!(again.text, "two", "resumed after the summary");
    let again = ask(&replay(&file, "ada"), &items[..3], &tools).await;
    assert_eq!(again.text, "three", "resumed after the last answer");
}

#[tokio::test]
async fn two_models_of_a_member_share_its_recording() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("run.jsonl");
    let words = ["zero", "In short: zero.", "one"];
    let server = FakeModelServer::start(in_turn(words.map(Reply::text))).await;
    let recorder = Recorder::open(model_at("openai/m", &server), &file, "ada", Vec::new());
    let recorder = recorder.expect("the file can be written");
    let cheap = recorder.beside(model_at("openai/cheap", &server).into());
    let tools = [tool("read")];
    let prompts: [(&dyn Model, _, &[_]); 3] = [
        (&recorder, input("goal"), &tools),
        (&cheap, input("goal zero"), &[]),
        (&recorder, input("In short: zero."), &tools),
    ];
    let mut recorded = Vec::new();
    for (model, item, tools) in &prompts {
        let (answered, _) = answer(*model, std::slice::from_ref(item), tools).await;
        recorded.push(answered.expect("an answer").text);
    }
    let again = replay(&file, "ada");
    let mut replayed = Vec::new();
    for (_, item, tools) in &prompts {
        let (answered, _) = answer(&again, std::slice::from_ref(item), tools).await;
        replayed.push(answered.expect("an answer").text);
    }
    assert_eq!(recorded, words);
    assert_eq!(replayed, words);
    let requests = server.requests();
    let models: Vec<_> = requests.iter().map(Request::model).collect();
    assert_eq!(models, ["m", "cheap", "m"]);
}

#[tokio::test]
async fn a_difference_from_the_recording_is_reported() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("run.jsonl");
    record(&file, "ada", "one").await;
    let ask = async |member: &str, items: &[Item], tools: &[_]| {
        let (error, _) = answer(&replay(&file, member), items, tools).await;
        error.expect_err("the exchange differs").to_string()
    };
    let error = ask("bob", &[input("one")], &[]).await;
    assert!(
        error.ends_with("it contains no exchange of bob, only of ada"),
        "{error}"
    );
    assert!(error.contains("run.jsonl"), "{error}");

    let error = ask("ada", &[], &[tool("read")]).await;
    assert!(
        error.ends_with("line 2, exchange 1 of ada: the last item was input, now is nothing"),
        "{error}"
    );

    let error = ask("ada", &[input("one")], &[tool("bash")]).await;
    assert!(
        error.contains("missing tools: read; additional tools: bash; the digest of system text"),
        "{error}"
    );

    let model = replay(&file, "ada");
    converse(&model, "one").await;
    let (error, _) = answer(&model, &[input("one")], &[tool("read")]).await;
    let error = error.expect_err("there is no fourth exchange").to_string();
    assert!(
        error.contains("it contains only 3 exchanges of ada"),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_is_not_a_recording_is_neither_read_nor_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("notes.txt");
    for (text, expected) in [
        (
            "my notes\n",
            "the first line is not the header of a recording",
        ),
        (
            "{\"recording\":\"agent-team\",\"version\":2}\n",
            "unsupported version 2",
        ),
        (
            "{\"recording\":\"agent-team\",\"version\":1}\n{\"member\":",
            "line 2 is not an exchange",
        ),
    ] {
        std::fs::write(&file, text).expect("the file can be written");
        let error = with_causes(&Replay::open(&file, "ada").expect_err(text));
        assert!(error.contains(expected), "{error}");
        let server = FakeModelServer::start(in_turn([])).await;
        let model = model_at("openai/m", &server);
        let error = Recorder::open(model, &file, "ada", Vec::new()).expect_err(text);
        assert!(error.to_string().contains(expected), "{error}");
        let after = std::fs::read_to_string(&file).expect("the file exists");
        assert_eq!(after, text, "the file is unchanged");
    }
}
