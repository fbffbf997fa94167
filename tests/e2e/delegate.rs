//! Delegation with the real programs: a helper of a member answers a question; its usage, its crash and its recording.

use agent_team_protocol::view::MemberState;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request, by};
use agent_team_tests::{Rig, processes, until};
use serde_json::json;

/// A lead whose helpers have a model of their own.
const TEAM: &str = "\
name = \"demo\"
mode = \"lead\"
[panes]
placement = \"headless\"
[lead]
model = \"openai/lead\"
delegate = { model = \"openai/cheap\", steps = 5 }
";

const QUESTION: &str = "Which file names the author? Answer with its path.";

fn rig(server: &FakeModelServer, team: &str) -> Rig {
    let mut rig = Rig::with_team(team);
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    rig.write("notes.txt", "Written by Ada.\n");
    rig
}

fn delegates() -> Reply {
    Reply::call(
        "delegate",
        json!({"question": QUESTION, "files": ["notes.txt"]}),
    )
}

fn finishes() -> Reply {
    Reply::call("finish", json!({"answer": "It is notes.txt."}))
}

fn helps() -> Vec<Reply> {
    vec![
        Reply::call("read", json!({"path": "notes.txt"})).tokens(1_000, 10, 0),
        Reply::text("notes.txt:1 names Ada.").tokens(2_000, 20, 0),
    ]
}

/// The conversation that a request belongs to: the helper's or its member's.
fn party(request: &Request) -> String {
    let tools = request.tools();
    let is_member = tools.iter().any(|tool| tool == "finish");
    if is_member { "lead" } else { "helper" }.to_owned()
}

#[tokio::test]
async fn a_helper_answers_and_its_usage_is_the_members() {
    let conversations = [("lead", vec![delegates(), finishes()]), ("helper", helps())];
    let server = FakeModelServer::start(by(party, conversations)).await;
    let rig = rig(&server, TEAM);
    let output = rig.run(["run", "--json", "Who wrote it?"]).await.expect(0);
    assert_eq!(output.json()["tokens"], 2 * 110 + 3_030);

    let requests = server.requests();
    let (of_helper, of_lead): (Vec<_>, Vec<_>) = requests
        .iter()
        .partition(|request| request.model() == "cheap");
    assert_eq!((of_helper.len(), of_lead.len()), (2, 2));
    let first = of_helper[0];
    assert_eq!(
        first.tools(),
        ["fetch", "git_diff", "git_status", "glob", "grep", "read"]
    );
    let begin = format!("{QUESTION}\n\nBegin with: notes.txt");
    assert_eq!(first.last_input(), begin);
    assert!(of_helper[1].results()[0].1.contains("Written by Ada."));
    let result = &of_lead[1].results()[0].1;
    assert!(result.ends_with("\nnotes.txt:1 names Ada."), "{result}");
    let body = of_lead[1].body.to_string();
    assert!(!body.contains("Written by Ada."), "{body}");
}

#[tokio::test]
async fn the_tokens_of_helpers_count_for_the_limit() {
    let conversations = [("lead", vec![delegates()]), ("helper", helps())];
    let server = FakeModelServer::start(by(party, conversations)).await;
    let rig = rig(&server, &format!("{TEAM}limits.tokens = 1_000\n"));
    rig.ok(["up", "--detach", "Who wrote it?"]).await;
    let lead = rig.until_member_is("lead", MemberState::Waiting).await;
    assert!(lead.why.contains("limits.tokens"), "{}", lead.why);
    let waits = async || {
        let log = rig.ok(["logs", "lead"]).await.stdout;
        log.contains("helper 1: waits: ").then_some(log)
    };
    let log = until("a line of the helper", waits).await;
    assert!(log.contains("helper 1: ● read(path: notes.txt)"), "{log}");
    assert_eq!(server.requests().len(), 2, "the helper waits, too");
}

#[tokio::test]
async fn a_member_killed_while_delegating_continues() {
    let lead = vec![delegates(), finishes()];
    let conversations = [("lead", lead), ("helper", vec![Reply::hang()])];
    let server = FakeModelServer::start(by(party, conversations)).await;
    let rig = rig(&server, TEAM);
    let mut run = rig.start(["run", "Who wrote it?"]);
    server.until_asked("cheap", 1).await;
    processes::kill(rig.worker("lead").await).await;
    assert!(run.wait().await.success());
    let requests = server.requests();
    let results = requests.last().unwrap().results();
    assert!(results[0].1.contains("unknown"), "{results:?}");
    assert_eq!(requests.len(), 3, "the question is not asked again");
}

#[tokio::test]
async fn a_recorded_helper_is_played_back() {
    let conversations = [("lead", vec![delegates(), finishes()]), ("helper", helps())];
    let server = FakeModelServer::start(by(party, conversations)).await;
    let recorded = rig(&server, TEAM);
    recorded
        .run(["run", "--record", "run.jsonl", "Who wrote it?"])
        .await
        .expect(0);
    let recording = recorded.read("run.jsonl").expect("the run was recorded");
    assert!(recording.contains("\"member\":\"lead/"), "{recording}");

    let played = Rig::with_team(&TEAM.replace("openai/lead", "replay:run.jsonl"));
    played.write("run.jsonl", &recording);
    played.write("notes.txt", "Written by Bob.\n");
    let output = played.run(["run", "Who wrote it?"]).await.expect(0);
    assert_eq!(output.stdout, "It is notes.txt.\n");
    let log = played.ok(["logs", "lead"]).await.stdout;
    assert!(log.contains("notes.txt:1 names Ada."), "{log}");
}

#[tokio::test]
async fn a_model_of_helpers_that_cannot_be_opened_is_named() {
    let server = FakeModelServer::start(|_| Reply::text("")).await;
    let rig = rig(
        &server,
        &TEAM.replace("openai/cheap", "anthropic/claude-haiku-4-5"),
    );
    rig.ok(["up"]).await;
    let why = rig.until_member_is("lead", MemberState::Held).await.why;
    assert!(
        why.contains("cannot use delegate.model = \"anthropic/claude-haiku-4-5\"")
            && why.contains("requires a key"),
        "{why}"
    );
}
