//! Compaction: conversations that exceed the window of their model, with scripted models that count real tokens.

use agent_team_protocol::view::MemberState;
use agent_team_tests::Rig;
use agent_team_tests::fake_anthropic::FakeAnthropic;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request};
use serde_json::{Value, json};

use crate::agents;

const WINDOW: u64 = 40_000;

/// Four bytes are about one token.
fn tokens(request: &Request) -> u64 {
    request.body.to_string().len() as u64 / 4
}

/// A reply with the token count of its request.
fn counted(reply: Reply, request: &Request) -> Reply {
    reply.tokens(tokens(request), 10, 0)
}

fn set_window(rig: &Rig, entry: &str) {
    rig.set_settings(&format!(
        "[permissions]\nmode = \"accept-edits\"\n[models]\n{entry} = {{ window = {WINDOW} }}\n"
    ));
}

/// A file of about 7000 tokens.
fn write_big_file(rig: &Rig) {
    rig.write(
        "big.txt",
        &"All work and no play makes a file.\n".repeat(650),
    );
}

const GOAL: &str = "Port the parser to Rust.\nKeep every message of the old one.";

#[tokio::test]
async fn a_goal_stays_verbatim_over_several_compactions() {
    let (mut step, mut summaries) = (0, 0);
    let server = FakeModelServer::start(move |request| {
        let reply = if request.tools().is_empty() {
            summaries += 1;
            match summaries {
                1 => Reply::text(""),
                2 => Reply::text("Half a summ").stop("length"),
                _ => Reply::text(&format!("This is summary {summaries}.")),
            }
        } else {
            step += 1;
            match step {
                1..=4 => Reply::call("read", json!({"path": "big.txt"})),
                5..=14 => {
                    let text = format!("Report {step}. {}", "word ".repeat(4000));
                    Reply::call("send_message", json!({"to": "user", "text": text}))
                }
                _ => Reply::call("finish", json!({"answer": "It is ported."})),
            }
        };
        counted(reply, request)
    })
    .await;
    let rig = agents::rig(&server);
    set_window(&rig, "openai.lead");
    write_big_file(&rig);
    let output = rig.run(["run", GOAL]).await.expect(0);
    assert_eq!(output.stdout, "It is ported.\n");

    let requests = server.requests();
    let (steps, summaries): (Vec<_>, Vec<_>) = requests
        .iter()
        .filter(|request| request.model() == "lead")
        .partition(|request| !request.tools().is_empty());
    for request in &steps {
        let body = request.body.to_string();
        for line in GOAL.lines() {
            assert!(body.contains(line), "{line} is not in {body}");
        }
        assert!(tokens(request) < WINDOW, "{}", tokens(request));
    }
    let contains = |text: &str| {
        let mut bodies = steps.iter().map(|request| request.body.to_string());
        bodies.position(|body| body.contains(text))
    };
    let pruned = contains("Removed to make room: the result of read(path: big.txt)");
    let first = contains("This is summary 3.");
    let second = contains("This is summary 4.");
    assert!(pruned.is_some() && pruned < first, "results go first");
    assert!(first.is_some() && first < second, "two summaries");
    assert!(summaries[1].last_input().contains("empty"), "asked again");
    assert!(
        summaries[2].last_input().contains("too long"),
        "asked again"
    );
    let last = steps.last().unwrap().body.to_string();
    assert!(last.contains("# Files that you read\\n- big.txt"), "{last}");
    assert!(!last.contains("This is summary 3."), "{last}");
}

#[tokio::test]
async fn no_thought_is_sent_after_removed_results() {
    let answers = (0..14).map(|step| {
        let call = match step {
            13 => json!({"name": "finish", "input": {"answer": "It is done."}}),
            _ => json!({"name": "read", "input": {"path": "big.txt", "limit": 600 + step}}),
        };
        vec![
            json!({"type": "thinking", "thinking": format!("Thought {step}.")}),
            json!({"type": "tool_use", "id": format!("c{step}"), "name": call["name"], "input": call["input"]}),
        ]
    });
    let mut provider = FakeAnthropic::new(answers);
    let server = FakeModelServer::start(move |request| {
        if request.tools().is_empty() {
            return Reply::text("This is a summary.");
        }
        if tokens(request) > WINDOW {
            return Reply::error(400, "prompt is too long: 40001 tokens > 40000 maximum");
        }
        provider.reply(request)
    })
    .await;
    let mut rig = Rig::with_team(
        "name = \"demo\"\nmode = \"lead\"\n[panes]\nplacement = \"headless\"\n\
         [lead]\nmodel = \"anthropic/claude-opus-5-5\"\n",
    );
    rig.set("ANTHROPIC_BASE_URL", server.base_url());
    rig.set("ANTHROPIC_API_KEY", "a-key-for-tests");
    write_big_file(&rig);
    let output = rig.run(["run", GOAL]).await.expect(0);
    assert_eq!(output.stdout, "It is done.\n");

    let requests = server.requests();
    let over = requests.iter().filter(|request| tokens(request) > WINDOW);
    assert!(over.count() >= 2, "the conversation overflows twice");
    let last = requests.last().unwrap();
    let body = last.body.to_string();
    assert!(body.contains("Removed to make room"), "{body}");
    assert!(body.contains("Port the parser to Rust."), "{body}");
    let thoughts = |request: &Request| {
        let blocks = request.messages().iter();
        let blocks = blocks.flat_map(|message| message["content"].as_array().unwrap());
        blocks.filter(|block| block["type"] == "thinking").count()
    };
    assert!((1..13).contains(&thoughts(last)), "{}", thoughts(last));
}

const WORKER: &str = "\
name = \"demo\"
[panes]
placement = \"headless\"
[[member]]
name = \"ada\"
engine = \"native\"
model = [\"openai/gone\", \"openai/ada\"]
compact = \"openai/cheap\"
";

fn ada(ps: &Value) -> &Value {
    let mut members = ps["members"].as_array().unwrap().iter();
    members.find(|member| member["name"] == "ada").unwrap()
}

fn last_of_ada(server: &FakeModelServer) -> Request {
    let mut requests = server.requests().into_iter().rev();
    requests.find(|request| request.model() == "ada").unwrap()
}

#[tokio::test]
async fn a_conversation_is_compacted_by_hand() {
    let mut step = 0;
    let server = FakeModelServer::start(move |request| {
        let reply = match request.model() {
            "gone" => return Reply::error(404, "The model `gone` does not exist"),
            "cheap" => Reply::text("Ada looked around."),
            "ada" => {
                step += 1;
                let items = json!([{"text": "Look around", "state": "in_progress"}]);
                match step {
                    1 => Reply::call("todo", json!({"items": items})),
                    2 => Reply::text(&"A report. ".repeat(100)),
                    4 => Reply::call("todo", json!({})),
                    _ => Reply::text("Yes."),
                }
            }
            _ => Reply::text("I see."),
        };
        counted(reply, request)
    })
    .await;
    let rig = agents::rig(&server);
    rig.set_team(WORKER);
    set_window(&rig, "openai.ada");
    rig.ok(["up"]).await;
    rig.ok(["send", "ada", "Look around. Touch nothing."]).await;
    server.until_asked("ada", 2).await;
    rig.until_member_is("ada", MemberState::Idle).await;

    let ps = rig.json(["ps"]).await;
    assert_eq!(ada(&ps)["model"], "openai/ada", "{ps}");
    assert_eq!(ada(&ps)["context"]["window"], WINDOW, "{ps}");
    let table = rig.ok(["ps"]).await.stdout;
    assert!(table.contains("CONTEXT") && table.contains(" %"), "{table}");

    rig.ok(["compact", "ada"]).await;
    rig.ok(["send", "ada", "Continue"]).await;
    server.until_asked("ada", 3).await;
    let body = last_of_ada(&server).body.to_string();
    for part in [
        "Ada looked around.",
        "> Look around. Touch nothing.",
        "[>] Look around",
    ] {
        assert!(body.contains(part), "{part} is not in {body}");
    }
    assert!(!body.contains("A report."), "{body}");

    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["restart", "ada"]).await;
    rig.ok(["send", "ada", "What is next?"]).await;
    server.until_asked("ada", 5).await;
    let results = last_of_ada(&server).results();
    assert_eq!(results[0].1, "[>] Look around\n");
}

#[tokio::test]
async fn only_agents_have_a_conversation_to_compact() {
    let rig = Rig::with_team("name = \"demo\"\n[[member]]\nname = \"build\"\n");
    rig.ok(["up"]).await;
    let refusal = rig.refused(4, ["compact", "build"]).await;
    assert!(refusal.to_string().contains("it has no model"), "{refusal}");
}

#[tokio::test]
async fn a_model_for_summaries_that_cannot_be_opened_is_named() {
    let server = FakeModelServer::start(|_| Reply::text("")).await;
    let rig = agents::rig(&server);
    rig.set_team(&WORKER.replace("openai/cheap", "anthropic/claude-haiku-4-5"));
    rig.ok(["up"]).await;
    let why = rig.until_member_is("ada", MemberState::Held).await.why;
    assert!(
        why.contains("cannot use compact = \"anthropic/claude-haiku-4-5\"")
            && why.contains("requires a key"),
        "{why}"
    );
}
